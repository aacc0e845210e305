/* attr.h -- attributes of calls and functions: axis=1, padding=[0, 0].       */
#ifndef RVM_IR_ATTR_H
#define RVM_IR_ATTR_H
#include <stdbool.h>
#include <stdint.h>
#include "base/source.h"
#include "base/str.h"

typedef enum { AV_None, AV_Int, AV_Float, AV_Bool, AV_Str, AV_List, AV_Other } AttrKind;
typedef struct AttrVal AttrVal;
struct AttrVal {
  AttrKind kind;
  int bits;                        /* Int, Float: 16 32 64 as written          */
  int64_t i;                       /* Int, Bool                                */
  double f;
  const char *s;                   /* Str; Other: what it was ("meta[relay.Var]") */
  int n;  AttrVal *at;             /* List (tuples too)                        */
};
typedef struct { Sym name; Span span; AttrVal val; } Attr;
typedef struct { int n; Attr *at; } Attrs;

const AttrVal *attrs_find(const Attrs *a, const char *name);   /* NULL if absent */
void attr_print(const AttrVal *v, StrBuf *out);      /* in the language's syntax */
bool attr_same(const AttrVal *a, const AttrVal *b);
#endif
