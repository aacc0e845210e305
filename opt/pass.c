/* pass.c -- the pass runner: forms, verification, time, the change limit.     */
#include "opt/pass.h"

bool pass_may(PassCx *cx) {
  if (cx->o->limit >= 0 && cx->changes >= cx->o->limit) return false;
  cx->changes++;
  return true;
}

static uint64_t now(const PassOpts *o) { return o->clock ? o->clock(o->ud) : 0; }

static bool run_one(PassCx *cx, const Pass *p, StrBuf *why) {
  Module *m = cx->m;
  if ((m->form & p->needs) != p->needs) {
    buf_fmt(why, "pass %s needs form %#x, the program has %#x", p->name, p->needs, m->form);
    return false;
  }
  int64_t before = cx->changes;
  uint64_t t0 = now(cx->o);
  p->run(cx);
  uint64_t took = now(cx->o) - t0;
  m->form = (m->form & p->keeps) | p->gives;
  if (cx->o->done) cx->o->done(cx->o->ud, p, m, cx->changes - before, took);
  StrBuf fault = {0};
  bool ok = ir_verify(m, &fault);
  if (ok && cx->o->recheck && cx->changes > before) ok = cx->o->recheck(cx->o->ud, m, &fault);
  if (!ok) buf_fmt(why, "after pass %s: %s", p->name, buf_text(&fault));
  return ok;
}

/* A pass that found nothing to do finds nothing in the same program again: it is
 * not run until another has changed something. */
bool passes_run(Module *m, const Pass *const *pass, int n, const PassOpts *o, StrBuf *why) {
  PassCx cx = {.m = m, .o = o};
  Map seen = {0}; /* Pass -> 1 + changes before its last run */
  for (int i = 0; i < n; i++) {
    void *mark = (void *)(intptr_t)(cx.changes + 1);
    if (map_get(&seen, map_ptr(pass[i])) == mark) {
      if (o->done) o->done(o->ud, pass[i], m, 0, 0);
      continue;
    }
    map_set(&seen, map_ptr(pass[i]), mark);
    if (!run_one(&cx, pass[i], why)) return false;
  }
  return true;
}
