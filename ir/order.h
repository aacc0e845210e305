/* order.h -- the globals in groups that call each other, callees first.      */
#ifndef RVM_IR_ORDER_H
#define RVM_IR_ORDER_H
#include "ir/expr.h"

typedef struct { int n;  int *size;  Global **at; } GlobalGroups;  /* at: group after group */
GlobalGroups global_groups(Module *m);
#endif
