/* runtime.h -- what is known of the runtime kernels without running them:
 * names and operands (vm/runtime.def).  The kernels themselves are vm/rt_*.c. */
#ifndef RVM_VM_RUNTIME_H
#define RVM_VM_RUNTIME_H

typedef enum {
#define RT(id, name, in, out, numbers, doc) RT_##id,
#include "vm/runtime.def"
#undef RT
  RT_COUNT
} RtId;
typedef struct { const char *name, *in, *out; int n_numbers; } RtInfo;
extern const RtInfo rt_info[RT_COUNT];

/* The number of the runtime kernel of this name, or -1. */
int rt_find(const char *name);
#endif
