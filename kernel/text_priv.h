/* text_priv.h -- what printing and reading of kernel text share.             */
#ifndef RVM_KERNEL_TEXT_PRIV_H
#define RVM_KERNEL_TEXT_PRIV_H
#include "kernel/text.h"

enum { TEXT_MAX_CARRY = 256, TEXT_MAX_NAME = 255 };

/* "f32"; the short names of base/dtype.def. */
const char *text_dtype(DType t);
/* Is s (n bytes) a word of the syntax that a name may not be? */
bool text_is_keyword(const char *s, size_t n);
/* A word that variables are printed as: i t c r acc, then digits. */
bool text_is_var_name(const char *s, size_t n);
static inline bool text_is_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool text_is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* m * 10^-k (k in 0..22, m <= 2^53) in dtype t, with a sign: the bits.  What
 * the printer shows is what this gives back. */
uint64_t text_decimal(DType t, bool negative, uint64_t m, int k);
uint64_t text_nan(DType t);                  /* the bits written "nan"        */

/* Infix operators; prec 0: written as a call. */
typedef struct { uint8_t op, prec; const char *sign; } TextInfix;
enum { TEXT_INFIXES = 8 };
extern const TextInfix text_infix[TEXT_INFIXES];
#endif
