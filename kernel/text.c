/* text.c -- the words and numbers of kernel text, for both directions.       */
#include "kernel/text_priv.h"
#include "kernel/interp.h"

const TextInfix text_infix[TEXT_INFIXES] = {
    {S_eq, 1, "=="}, {S_ne, 1, "!="}, {S_le, 1, "<="}, {S_lt, 1, "<"},
    {S_add, 2, "+"}, {S_sub, 2, "-"}, {S_mul, 3, "*"}, {S_div, 3, "/"},
};

static const char *const dtype_short[] = {
#define DTYPE(id, name, bytes, cls, code, bits) #id,
#include "base/dtype.def"
#undef DTYPE
};

const char *text_dtype(DType t) { return dtype_short[t]; }

static const char *const keyword[] = {
    "kernel", "in",  "out",    "inout", "local",    "for",  "parallel", "carry",
    "next",   "let", "reduce", "from",  "contract", "over", "then",     "check",
    "if",     "or",  "true",   "false", "inf",      "nan",  "bits",
};

bool text_is_keyword(const char *s, size_t n) {
  for (size_t i = 0; i < sizeof keyword / sizeof *keyword; i++)
    if (strlen(keyword[i]) == n && memcmp(keyword[i], s, n) == 0) return true;
  return false;
}

bool text_is_var_name(const char *s, size_t n) {
  size_t i = 0;
  if (n > 3 && memcmp(s, "acc", 3) == 0)
    i = 3;
  else if (n > 1 && (*s == 'i' || *s == 't' || *s == 'c' || *s == 'r'))
    i = 1;
  if (i == 0) return false;
  while (i < n && text_is_digit(s[i])) i++;
  return i == n;
}

uint64_t text_decimal(DType t, bool negative, uint64_t m, int k) {
  double d = (double)m, power = 1;
  uint64_t bits;
  for (int i = 0; i < k; i++) power *= 10; /* exact up to 10^22 */
  d /= power;
  if (negative) d = -d;
  memcpy(&bits, &d, 8);
  return scalar_cast(bits, DT_f64, t);
}

uint64_t text_nan(DType t) {
  switch ((int)t) {
  case DT_f16: return 0x7e00;
  case DT_bf16: return 0x7fc0;
  case DT_f32: return 0x7fc00000;
  default: return (uint64_t)0x7ff8 << 48;
  }
}
