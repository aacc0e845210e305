/* helper.h -- what compiled code calls, by name.                               */
#ifndef RVM_CODEGEN_NATIVE_HELPER_H
#define RVM_CODEGEN_NATIVE_HELPER_H

typedef struct { const char *name; void *address; } Helper;
extern const Helper kernel_helper[];         /* helper.c: of kernels          */
extern const int kernel_helpers;
extern const Helper engine_helper[];         /* engine.c: of functions        */
extern const int engine_helpers;

/* Of both, as an ObjectResolve (object.h); user is not looked at. */
void *helper_find(void *user, const char *name);
#endif
