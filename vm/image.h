/* image.h -- the narrow waist: a program as data.
 *
 * An Image is what the compiler hands over and all that any engine sees:
 * types, constants, kernels, functions with bytecode, entry points, source
 * lines.  image_write and image_read give its file form: little-endian,
 * versioned, sectioned (docs/image.md).  image_read only decodes and bounds
 * every count and offset; image_verify (vm/verify.c) is what makes it safe.
 *
 * All arrays belong to the allocator the image was made with; names are
 * offsets into `text` (NUL-terminated); 0 is "".                             */
#ifndef RVM_VM_IMAGE_H
#define RVM_VM_IMAGE_H
#include "base/dtype.h"
#include "kernel/kernel.h"

typedef struct { uint16_t op, a, b, c; } Ins;
static inline uint32_t ins_w(Ins i) { return (uint32_t)i.b | (uint32_t)i.c << 16; }

typedef enum {
#define OP(name, form, doc) OP_##name,
#include "vm/opcode.def"
#undef OP
  OP_COUNT,
  OP_SCALAR = 0x400                          /* + sop * 16 + dtype             */
} OpCode;
typedef struct { const char *name, *form, *doc; } OpInfo;
extern const OpInfo op_info[OP_COUNT];

/* ---- types ----------------------------------------------------------------- */
typedef enum { IT_SCALAR, IT_TENSOR, IT_DATA, IT_CLOSURE, IT_REF } ITypeKind;
typedef struct {
  uint32_t name, n_fields, first_field;      /* fields: Image.type_list        */
  uint32_t n_names, first_name;              /* none, or a name for each field in name_list ("": none) */
} ICtor;
typedef struct {
  uint8_t kind, dtype, rank, is_tuple;       /* tuple: DATA with one nameless constructor */
  uint32_t name;                             /* DATA: as written, e.g. "List[int32]" */
  uint32_t first_dim;                        /* TENSOR: rank entries of Image.dims; -1 unknown.
                                                Only for people and for checking a host's arguments */
  uint32_t n_ctors, first_ctor;              /* DATA: Image.ctor              */
  uint32_t n_list, first_list;               /* CLOSURE: parameters in type_list */
  uint32_t result;                           /* CLOSURE: result; REF: content  */
} IType;
/* Two register types agree when they are the same index; tensors of equal
 * dtype and rank agree whatever their dims say, and so do scalars of equal
 * dtype (itype_agree). */

/* ---- constants ------------------------------------------------------------- */
typedef struct { uint32_t type; uint64_t bits; uint64_t at, bytes; uint32_t first_dim; } IConst;
/* scalar: bits; tensor: dims in Image.dims, [at, at+bytes) of Image.data (64-aligned) */

/* ---- functions ------------------------------------------------------------- */
typedef struct { uint32_t pc, n_regs, first; } ILabel;  /* state: n_regs IRegState from Image.state */
typedef struct { uint16_t reg, ctor; uint32_t type; } IRegState; /* ctor: 1 + known constructor, 0 unknown */
typedef struct { uint32_t pc, line, col, file; } ILine;  /* from pc on; file: name in text */
typedef struct {
  uint32_t name;
  uint32_t n_captures, n_params;             /* both arrive in registers 0..; captures first */
  uint32_t first_param;                      /* types in type_list: captures, then parameters */
  uint32_t result;
  uint32_t n_regs;
  uint32_t code, n_code;                     /* in Image.code; jumps are relative to `code` */
  uint32_t label, n_labels;                  /* sorted by pc (relative)        */
  uint32_t line, n_lines;                    /* sorted by pc (relative)        */
} IFunc;
typedef struct { uint32_t name, func, first_name; uint32_t doc; } IEntry; /* parameter names in name_list */

typedef struct Image {
  uint32_t n_text;   char *text;
  uint32_t n_types;  IType *type;
  uint32_t n_ctors;  ICtor *ctor;
  uint32_t n_type_list; uint32_t *type_list;
  uint32_t n_dims;   int64_t *dims;
  uint32_t n_consts; IConst *cst;
  uint64_t n_data;   uint8_t *data;          /* may point into the image bytes; image_free leaves it */
  uint32_t n_kernels; Kernel **kernel;
  uint32_t n_funcs;  IFunc *func;
  uint32_t n_code;   Ins *code;
  uint32_t n_pool;   uint32_t *pool;
  uint32_t n_labels; ILabel *label;
  uint32_t n_states; IRegState *state;
  uint32_t n_lines;  ILine *line;
  uint32_t n_entries; IEntry *entry;
  uint32_t n_name_list; uint32_t *name_list;
} Image;

typedef struct {
  const char *why;                           /* static text                    */
  bool no_memory;                            /* the allocator refused          */
  uint64_t at;                               /* byte offset or 0               */
  uint32_t func, pc;                         /* instruction pc of a function; func UINT32_MAX: entry
                                                pc of the table that `why` speaks of */
} ImageError;

/* Serialise; NULL when the allocator refuses.  The result is the same bytes
 * for the same image, always. */
uint8_t *image_write(const Image *m, KAlloc a, size_t *n);
/* Decode.  bytes must stay alive: constant data is not copied.  Everything
 * decoded comes from a; image_free gives it back (and only what image_read
 * made: it frees every array by itself).  false with a reason.  bytes must be
 * aligned to 8.                                                              */
bool     image_read(const void *bytes, size_t n, KAlloc a, Image *out, ImageError *err);
void     image_free(Image *m, KAlloc a);
/* The source of the instruction at pc of a verified image's function: its last line entry at or
 * before pc; NULL: there is none. */
const ILine *image_line(const Image *m, const IFunc *f, uint32_t pc);
/* The proof that running m needs no further checks: vm/verify.c.
 * needs_launch: one bool per kernel (from kernel_verify), allocated from a.   */
bool     image_verify(const Image *m, KAlloc a, bool **needs_launch, ImageError *err);
bool     itype_agree(const Image *m, uint32_t a, uint32_t b);

/* Text of everything (tools; not in librvm_rt): vm/disasm.c.  The image must
 * have passed image_verify.  image_disasm shortens large constants with "...";
 * image_text does not and reads back: image_assemble makes the file form of an
 * image from it (vm/asm.c; the syntax is in docs/bytecode.md).               */
char    *image_disasm(const Image *m, KAlloc a, size_t *n);
char    *image_text(const Image *m, KAlloc a, size_t *n);
typedef struct { int line; char why[200]; } AsmError;
uint8_t *image_assemble(const char *text, size_t n, KAlloc a, size_t *n_out, AsmError *err);
#endif
