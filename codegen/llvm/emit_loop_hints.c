/* emit_loop_hints.c -- metadata of loops for LLVM's vectoriser: that iterations are independent,
 * and how many vectors to interleave.
 *
 * An output may take the memory of an input that a kernel reads for the last time
 * (kernel_in_place): every iteration of a parallel loop then reads at most the
 * element that it writes.  LLVM sees only that the two may alias and would take
 * such a loop one element at a time, so its accesses are marked as parallel.
 *
 * An exponential is a chain of dependent operations, so two vectors interleaved
 * take less than twice as long as one. */
#include <llvm-c/DebugInfo.h>
#include <string.h>
#include "codegen/llvm/emit_stmt.h"

static unsigned kind_of(const Emit *e, const char *name) {
  return LLVMGetMDKindIDInContext(e->c, name, (unsigned)strlen(name));
}

/* Interleave two vectors. */
static LLVMMetadataRef interleave_two(const Emit *e) {
  static const char name[] = "llvm.loop.interleave.count";
  LLVMMetadataRef pair[2] = {LLVMMDStringInContext2(e->c, name, sizeof name - 1),
                             LLVMValueAsMetadata(LLVMConstInt(int_type(e, 32), 2, 0))};
  return LLVMMDNodeInContext2(e->c, pair, 2);
}

/* The identity of a loop: a node that holds itself, and the hints. */
static LLVMMetadataRef loop_id(const Emit *e, bool interleave) {
  LLVMMetadataRef part[2] = {LLVMTemporaryMDNode(e->c, NULL, 0),
                             interleave ? interleave_two(e) : NULL};
  LLVMMetadataRef node = LLVMMDNodeInContext2(e->c, part, interleave ? 2 : 1);
  LLVMMetadataReplaceAllUsesWith(part[0], node);
  return node;
}

static void mark_block(Block b, unsigned kind, Val id) {
  for (Val i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i)) {
    LLVMOpcode op = LLVMGetInstructionOpcode(i);
    if (op == LLVMLoad || op == LLVMStore) LLVMSetMetadata(i, kind, id);
  }
}

bool for_is_independent(const Emit *e, uint32_t at) {
  const KStmt *s = &e->k->stmt[at];
  if (!e->shared || s->op != K_PARALLEL) return false;
  for (uint32_t i = at + 1; i < s->end; i++)
    if (e->k->stmt[i].kind != KS_Let && e->k->stmt[i].kind != KS_Store) return false;
  return true;
}

void loop_end_hinted(Emit *e, Loop *l, Block before, bool independent, bool interleave) {
  Block latch = LLVMGetInsertBlock(e->b);
  loop_end(e, l);
  if (!independent && !interleave) return;
  Val id = LLVMMetadataAsValue(e->c, loop_id(e, interleave));
  LLVMSetMetadata(LLVMGetBasicBlockTerminator(latch), kind_of(e, "llvm.loop"), id);
  if (!independent) return;
  unsigned kind = kind_of(e, "llvm.mem.parallel_loop_access");
  mark_block(l->body, kind, id);
  for (Block b = LLVMGetNextBasicBlock(before); b; b = LLVMGetNextBasicBlock(b))
    mark_block(b, kind, id);
}
