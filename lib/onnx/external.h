/* SPDX-License-Identifier: Apache-2.0 */
/* Weights in files beside the model. Only regular files, in the model's directory or below it, with
 * one link, never through a symbolic link; the part asked for must lie within the file.
 * CVE-2022-25882, CVE-2024-27318, CVE-2024-27319, CVE-2025-51480, CVE-2026-27489, CVE-2026-34446.
 */
#ifndef LT_ONNX_EXTERNAL_H
#define LT_ONNX_EXTERNAL_H

#include "base/memory.h"

typedef struct lt_external_files lt_external_files; /* the files that are mapped so far */

/* Errors:   NO_MEMORY; NOT_FOUND, IO for the directory. */
leat_status lt_external_files_create(lt_memory *memory, const char *directory,
                                     lt_external_files **out_files,
                                     leat_error *err) LEAT_MUST_CHECK;
/* Unmaps all files. */
void lt_external_files_destroy(lt_external_files *files);

/* Maps (once) the file `location` and returns its part.
 * Owns:     *out_data is valid as long as `files`.
 * Errors:   INVALID for a location that leaves the directory or is a link; NOT_FOUND; CORRUPT for a
 *           part outside of the file; IO. */
leat_status lt_external_files_map(lt_external_files *files, const char *location, uint64_t offset,
                                  uint64_t bytes, const void **out_data,
                                  leat_error *err) LEAT_MUST_CHECK;

/* Tells the system that the mapped pages are not needed now. */
void lt_external_files_release_pages(lt_external_files *files);

#endif
