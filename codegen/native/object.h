/* object.h -- relocatable objects (ELF, x86-64) in the memory of this process.
 *
 * Small on purpose: the objects are the emitter's own (codegen/llvm) or came
 * from the cache with a checksum.  Still every offset is bounded and every
 * relocation's range is checked; an object that does not fit is refused.
 * Code is never writable and executable at once.                             */
#ifndef RVM_CODEGEN_NATIVE_OBJECT_H
#define RVM_CODEGEN_NATIVE_OBJECT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { const void *bytes; size_t n; } ObjectFile;
typedef struct Object Object;                /* what has been loaded          */

/* The address of a name no object defines, or NULL. */
typedef void *(*ObjectResolve)(void *user, const char *name);

/* Links the files with each other and with `resolve`.  The bytes are not needed
 * afterwards.  NULL: *why says why (static text). */
Object *object_load(const ObjectFile *file, size_t n, ObjectResolve resolve, void *user,
                    const char **why);
void    object_free(Object *o);              /* NULL is fine                  */

/* A global symbol, or NULL. */
void   *object_find(const Object *o, const char *name);
/* The functions, for profilers: f(user, name, address, bytes), in no order. */
void    object_each(const Object *o, void (*f)(void *, const char *, uintptr_t, size_t), void *user);
#endif
