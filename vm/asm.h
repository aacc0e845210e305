/* asm.h -- shared by the files that read image text: words and growing tables
 * (asm_read.c), the tables of an image (asm.c), code (asm_code.c).            */
#ifndef RVM_VM_ASM_H
#define RVM_VM_ASM_H
#include "vm/image_format.h"
#include "vm/tool.h"

typedef enum { AT_End, AT_Word, AT_String, AT_Mark } AsmTokKind;    /* Mark: one of ()[]{}= */
typedef struct { const char *p; size_t n; int line; uint8_t kind; } AsmTok;

typedef struct { uint32_t at, label; bool in_pool; int line; } AsmFixup;
typedef struct { uint32_t func, pc; } AsmLabel;       /* func: 1 + the one it is of */

typedef struct {
  Track track;
  KAlloc a;
  AsmError *err;
  const char *p, *end;  int line;    /* what is not yet read                   */
  AsmTok tok;                        /* the word before it; strings: unescaped in str */
  int last_line;                     /* of the word before tok                 */
  char *str;  size_t str_cap;
  Image m;
  uint32_t cap[IMAGE_ARRAYS], kernel_cap;
  uint64_t data_cap;
  uint32_t *slot, n_slots, n_strings;         /* interned text: hash table of offsets   */
  AsmFixup *fix;  uint32_t n_fix, fix_cap;
  AsmLabel *label;  uint32_t label_cap;       /* by number                     */
  uint32_t func_code;                /* where the function being read begins   */
} Asm;

bool  asm_fail(Asm *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool  asm_next(Asm *s);                              /* read the next word into tok */
bool  asm_is(const Asm *s, const char *word);        /* a word or mark         */
bool  asm_accept(Asm *s, const char *word, bool *yes);
bool  asm_expect(Asm *s, const char *word);
bool  asm_digits(const char *p, size_t n, uint64_t *v);   /* p[0, n), decimal or 0x */
bool  asm_number(Asm *s, int64_t *v);                /* decimal or 0x, 64 bits */
bool  asm_u32(Asm *s, uint32_t *v);
bool  asm_ref(Asm *s, char letter, uint32_t *v);     /* t12, r3, ...           */
bool  asm_string(Asm *s, uint32_t *text);            /* interned               */
void *asm_push(Asm *s, int array);                   /* a new zeroed element; NULL after asm_fail */
/* Room for one more of an array of our own. */
void *asm_grow(Asm *s, void *p, size_t elem, uint64_t n, uint64_t *cap);
bool  asm_body(Asm *s);              /* up to and with "end"                 */
#endif
