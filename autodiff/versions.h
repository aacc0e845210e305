/* versions.h -- refs whose contents have derivatives, wherever they come from.  Private
 * to the folder.
 *
 * What is in a ref when a form is run is a constant for it; what is written while it runs
 * may have a derivative, which the same run's reads must see and no other's.  When a round
 * meets such a write to a ref from outside, the module is written over versions:
 *
 *   type Version[A] { Plain(A), Active(A, ref(A), ref(bool)) }
 *   def @content[A](%c: Version[A]) -> A { match (%c) { Plain(%x) => %x, Active(%x, _, _) => %x } }
 *
 *   ref(T)            ref(Version[T])
 *   ref(e)            ref(Plain(e))
 *   ref_write(r, e)   ref_write(r, Plain(e))
 *   ref_read(r)       @content(ref_read(r))
 *
 * and the round is made again.  A ref is then the same in both worlds, whatever other names
 * it has, and Version[T] has no tangent.  Plain(e) becomes Active(e, shadow, live) where e
 * has a derivative: the shadow holds its tangent (forward) or what reads gave (reverse); live
 * is a ref that each run of a form makes, true while its forward half runs: forms of one
 * round do not nest when they run, so what is live is of this run.  @content asks it.
 *
 * When the round is done its Version is data as any other, to be differentiated by
 * the same rules: another round that meets such writes gets a Version of its own.
 *
 * A shadow is of the content's own type, so that Version[A] serves all of them: what has no
 * tangent stands in it as it is in the value (AS_Shadow, ad.h).                      */
#ifndef RVM_AD_VERSIONS_H
#define RVM_AD_VERSIONS_H
#include "autodiff/forward.h"

/* ---- versions.c ----------------------------------------------------------------- */
/* Is t a Version[T] of this round?  Does a value of t lead to one that may have a derivative? */
bool  version_is(const AD *ad, Type *t);
bool  version_state(AD *ad, Type *t);
/* A mistake if t, of the value to be differentiated at this place, holds a function or a ref. */
void  version_result(AD *ad, Span at, Type *t);
/* Does code that uses these read what may have a derivative, or write what has one? */
bool  version_touched(Scope *s, const VarList *used);
/* Does the definition of data lead to a Version of its parameters? */
bool  version_generic(AD *ad, DataDef *def);
/* The ref of this run (f->live): made; as a parameter, which is given back; false from now on. */
void  version_begin(Frame *f, Out o);
Var  *version_param(Frame *f);
void  version_end(Frame *f, Out o);
/* v is Plain(e), or @content(c): made for reverse mode, with a step that
 * version_back takes back; made for forward mode.  false: something else. */
bool  version_made(Scope *s, Var *v, Expr *e, BindStyle style);
bool  version_read(Scope *s, Var *v, Expr *e, BindStyle style);
bool  version_back(Scope *s, const Step *st, Adj *d);
bool  version_made_forward(Scope *s, Var *v, Expr *e);
bool  version_read_forward(Scope *s, Var *v, Expr *e);
/* ---- versions_code.c --------------------------------------------------------------- */
/* Writes the module over versions; false: t holds no ref that is not so already. */
bool  versions_make(AD *ad, Type *t);
#endif
