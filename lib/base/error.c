/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

leat_status lt_fail(leat_error *err, leat_status status, const char *format, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

leat_status lt_fail_within(leat_error *err, leat_status status, const char *format, ...)
{
    if (err == NULL) {
        return status;
    }
    char inner[sizeof(err->message)];
    memcpy(inner, err->message, sizeof(inner));
    inner[sizeof(inner) - 1] = '\0';
    va_list args;
    va_start(args, format);
    int length = vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof(err->message)) {
        size_t room = sizeof(err->message) - (size_t)length;
        snprintf(err->message + length, room, ": %.*s", (int)room, inner);
    }
    err->status = status;
    return status;
}

void lt_error_clear(leat_error *err)
{
    if (err != NULL) {
        memset(err, 0, sizeof(*err));
    }
}

const char *leat_status_text(leat_status status)
{
    static const char *const text[] = {
        [LEAT_OK] = "ok",
        [LEAT_INVALID] = "invalid",
        [LEAT_NO_MEMORY] = "no memory",
        [LEAT_NOT_FOUND] = "not found",
        [LEAT_IO] = "input/output error",
        [LEAT_CORRUPT] = "corrupt",
        [LEAT_UNSUPPORTED] = "unsupported",
        [LEAT_LIMIT] = "limit exceeded",
        [LEAT_NO_DEVICE] = "no device",
        [LEAT_DEVICE_LOST] = "device lost",
        [LEAT_BUSY] = "busy",
        [LEAT_CANCELLED] = "cancelled",
        [LEAT_TIMEOUT] = "timeout",
        [LEAT_INTERNAL] = "internal error",
        [LEAT_EXPIRED] = "deadline passed",
    };
    size_t i = (size_t)status;
    return i < sizeof(text) / sizeof(text[0]) ? text[i] : "unknown status";
}
