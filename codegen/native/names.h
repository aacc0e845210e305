/* names.h -- what profilers call compiled functions. */
#ifndef RVM_CODEGEN_NATIVE_NAMES_H
#define RVM_CODEGEN_NATIVE_NAMES_H
#include "codegen/native/object.h"
#include "vm/sites.h"

/* Calls f(user, name, address, bytes) for every function of the object, made of m: "function main
 * model.rly:3" with the line where its code begins, "kernel nn.softmax model.rly:5" with that of
 * the first instruction that launches it, others by their symbols.  name: until f returns.
 * sites: of m's kernels (image_launch_sites); NULL: those names have no line.  version: -1, or the
 * kernel that the object is a version of (special.h): "kernel nn.softmax (version) model.rly:5". */
void names_each(const Object *o, const Image *m, const LaunchSites *sites, int64_t version,
                void (*f)(void *user, const char *name, uintptr_t at, size_t bytes), void *user);
#endif
