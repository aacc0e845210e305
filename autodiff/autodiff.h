/* autodiff.h -- differentiation as a transformation of programs.
 *
 * Replaces the forms of ir/diff.h by ordinary functions.  See
 * docs/notes/autodiff.md for the method; after each call the module has to be
 * checked again (types of what was made are not filled in).                   */
#ifndef RVM_AUTODIFF_AUTODIFF_H
#define RVM_AUTODIFF_AUTODIFF_H
#include "base/diag.h"
#include "ir/diff.h"

typedef enum { AUTODIFF_NOTHING, AUTODIFF_CHANGED, AUTODIFF_FAILED } AutodiffResult;
/* Expands the forms whose functions hold no further form, innermost first: to
 * be called, with typeinfer in between, until there is NOTHING to do.  m is
 * typed on entry, and to be typed again after CHANGED. */
AutodiffResult autodiff_step(Module *m, Diags *d);
/* Adds a definition of grad(@f), vjp(@f) or jvp(@f), *made; the module, which had
 * no forms left, is to be typed again after CHANGED, and of jvp may have new forms.
 * *made is NULL if other functions had to be made known first: to be asked again.
 * FAILED after reporting. */
AutodiffResult autodiff_request(Module *m, Global *f, DiffKind k, Diags *d, Global **made);
#endif
