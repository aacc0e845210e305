/* bind.h -- weights become constants of the program.                           */
#ifndef RVM_CLI_BIND_H
#define RVM_CLI_BIND_H
#include "cli/file/tensor_file.h"

/* Parameters of fn whose tensors all stand in `sets`, by name as for
 * input_from_sets, cease to be parameters: the body begins with what they are.
 * Extents that their types name become numbers wherever fn says them.  Before
 * type inference, on a function that nothing calls.  A parameter stays as it
 * is when `stays` says so, when something of it is missing or does not fit, or
 * when tensors do not say which constructor is meant; what does not fit is
 * reported where inputs are.  How many were bound. */
int bind_weights(Module *m, Fn *fn, const TensorSet *sets, bool (*stays)(void *ud, Sym name),
                 void *ud);
#endif
