/* operands.h -- the operands of one instruction, whatever their encoding.
 *
 * Walks the form of an instruction (vm/opcode.def) and, where that says P,
 * its words in the pool.  Each operand is a letter and a value:
 *   d u m  register            b  register of a kernel's buffer (read or written)
 *   K constant  J L instruction index  M message  T dtype  Y type  F function
 *   X kernel  R runtime kernel  n small number  c constructor
 *   w  64-bit number (wide)    .  unused    [ ]  around a list; [ carries its length
 * The iterator reads nothing outside the pool: it stops with `bad` set.       */
#ifndef RVM_VM_OPERANDS_H
#define RVM_VM_OPERANDS_H
#include "vm/image.h"

typedef struct { char kind; uint32_t v; int64_t wide; } Operand;
typedef struct {
  const Image *m;
  Ins ins;
  const char *form;  int slot;       /* of the instruction                     */
  const char *layout, *loop;         /* in the pool; NULL while in the form    */
  uint32_t at, left;                 /* next word; entries left of the list    */
  bool bad;
} OperandIter;

/* "duu" ...; NULL when there is no such instruction. */
const char *op_form(uint16_t op);
/* Layout of the pool words, one letter each, lists in brackets; "" if none. */
const char *op_layout(uint16_t op);
/* false when the opcode is unknown. */
bool operands_begin(OperandIter *it, const Image *m, Ins ins);
/* false at the end, or when the pool is too short (bad). */
bool operands_next(OperandIter *it, Operand *o);
/* Does the instruction name this register, as an operand of one of these kinds ("d": written;
 * "dumb": at all)?  The pool words must be there. */
bool ins_names(const Image *m, Ins ins, const char *kinds, uint32_t reg);
/* Does straight code end with it: may what is run next not be what stands next, or be run by
 * another function first? */
bool op_leaves(uint16_t op);
#endif
