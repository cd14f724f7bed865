/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void lt_log_write(const lt_log *log, leat_log_level level, const char *format, ...)
{
    char line[500];
    if (log->fn == NULL || level > log->level) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    log->fn(log->user, level, line);
}
