/* SPDX-License-Identifier: Apache-2.0 */
/* What was measured of ways to compute nodes, kept in a file of the session's cache directory so
 * that the next session need not measure again: leat-tuning.txt,
 *
 *     leat tuning 1
 *     KEY WAY NS LABEL     a line an entry: 16 hexadecimal digits, a name, a number, and for
 *     ...                  people what the entry is about
 *     end SUM              FNV-1a of all bytes before this line, 16 hexadecimal digits
 *
 * A key stands for the node (operator, attributes, types, shapes), the device (processor, driver,
 * instruction set), the number of threads and leat's version (choose.c), so one file serves many
 * machines. A file that is not exactly of this form is ignored, and replaced by the next save. It
 * appears whole or not at all; entries that another session has saved meanwhile are kept.
 *
 * Threads:  one at a time per lt_tuning; different ones may use one file. */
#ifndef LT_RUNTIME_TUNING_H
#define LT_RUNTIME_TUNING_H

#include "runtime/context.h"

#define LT_TUNING_FILE "leat-tuning.txt"
#define LT_TUNING_WAY_BYTES 32u   /* of a way's name, its end among them */
#define LT_TUNING_LABEL_BYTES 96u /* likewise */

typedef struct lt_tuning lt_tuning;

/* Reads the directory's file, if there is one.
 * Owns:     *out_tuning is the caller's; borrows the context; the string is copied.
 * Errors:   NO_MEMORY; what is wrong with the file goes to the log. */
leat_status lt_tuning_create(leat_context *context, const char *directory, lt_tuning **out_tuning,
                             leat_error *err) LEAT_MUST_CHECK;
void lt_tuning_destroy(lt_tuning *tuning);

/* The way recorded under the key; NULL when there is none. Valid until the next call. */
const char *lt_tuning_find(const lt_tuning *tuning, uint64_t key);

/* Records a way. Names too long or with a space, and lack of memory, record nothing. */
void lt_tuning_add(lt_tuning *tuning, uint64_t key, const char *way, double ns, const char *label);

/* Writes the file when something was added since. A failure goes to the log. */
void lt_tuning_save(lt_tuning *tuning);

/* FNV-1a over more bytes: Fowler, Noll, Vo; draft-eastlake-fnv. Start with LT_HASH_START. */
#define LT_HASH_START 0xcbf29ce484222325u
uint64_t lt_hash(uint64_t hash, const void *data, size_t bytes);
/* Over a text and its end. */
uint64_t lt_hash_text(uint64_t hash, const char *text);
/* Over an attribute's number, numbers or text; over nothing of others. */
uint64_t lt_hash_attr_data(uint64_t hash, const leat_attr *attr);

#endif
