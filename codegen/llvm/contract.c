/* contract.c -- contractions in register tiles. */
#include "codegen/llvm/emit.h"
bool emit_contract(Emit *e, uint32_t s) { (void)e; (void)s; return false; }
