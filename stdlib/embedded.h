/* embedded.h -- the library in .rly, as text inside the binary.
 *
 * The build writes the definitions from stdlib/<name>.rly, sorted by name.  The
 * text is followed by a NUL that n does not count; the table ends with a row
 * of zeros.                                                                  */
#ifndef RVM_STDLIB_EMBEDDED_H
#define RVM_STDLIB_EMBEDDED_H
#include "base/source.h"

extern const TextFile stdlib_files[];         /* name: "nn.rly"                */
extern const int stdlib_n_files;
#endif
