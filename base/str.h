/* str.h -- interned names and growing text.
 *
 * A Sym is an interned, NUL-terminated string: two Syms of one table are the
 * same name exactly when the pointers are equal.                             */
#ifndef RVM_BASE_STR_H
#define RVM_BASE_STR_H
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef const char *Sym;
typedef struct SymTab SymTab;
SymTab *symtab_new(void);
Sym     sym_n(SymTab *t, const char *s, size_t n);
Sym     sym(SymTab *t, const char *s);

/* Growing text.  s is always NUL-terminated after the first append; an empty
 * StrBuf has s == NULL, so print it with buf_text. */
typedef struct { char *s; size_t n, cap; } StrBuf;
void        buf_put(StrBuf *b, const char *s, size_t n);
void        buf_str(StrBuf *b, const char *s);
void        buf_char(StrBuf *b, char c);
void        buf_fmt(StrBuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void        buf_vfmt(StrBuf *b, const char *fmt, va_list ap);
const char *buf_text(const StrBuf *b);
char       *str_fmt(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char       *str_vfmt(const char *fmt, va_list ap);

/* Shortest decimal text that reads back to the same float / double, without
 * locale: "1", "0.1", "1e-10", "inf", "-inf", "nan".  No suffix.  Returns the
 * length; out needs 40 bytes. */
int  num_f32(float x, char *out);
int  num_f64(double x, char *out);
int  num_f16(uint16_t bits, char *out);     /* IEEE half                      */
int  num_bf16(uint16_t bits, char *out);
/* Exact, locale-free reading; returns bytes consumed, 0 when none. */
int  num_read(const char *s, size_t n, double *out);
int  num_read_f32(const char *s, size_t n, float *out);  /* rounded once */
#endif
