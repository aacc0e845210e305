/* fiber.h -- a stack of its own for compiled programs.
 *
 * Recursion of a program is bounded by memory, not by the stack of the thread
 * that calls it, and a call that was stopped keeps its frames until it is
 * resumed.  The stack is address space that gets memory page by page.
 * x86-64, System V.                                                          */
#ifndef RVM_CODEGEN_NATIVE_FIBER_H
#define RVM_CODEGEN_NATIVE_FIBER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *low;  size_t bytes;               /* the mapping; its lowest page is no memory */
  void *inner, *outer;                       /* saved stack pointers          */
  void (*fn)(void *);  void *arg;
  void *fake;                                /* of the address sanitizer      */
  const void *outer_low;  size_t outer_bytes;
} Fiber;

/* Address space of `bytes`, or less if there is not as much.  false: none. */
bool fiber_new(Fiber *f, size_t bytes);
void fiber_free(Fiber *f);
static inline uint8_t *fiber_top(const Fiber *f) { return f->low + f->bytes; }

/* On the caller's stack: run fn(arg) on the fiber from its top, until it calls
 * fiber_leave; or go on where it left.  fn must not return. */
void fiber_start(Fiber *f, void (*fn)(void *), void *arg);
void fiber_resume(Fiber *f);
/* On the fiber: back to whoever started or resumed it. */
void fiber_leave(Fiber *f);
/* Memory below the first `keep` bytes from the top goes back to the system. */
void fiber_trim(Fiber *f, size_t keep);
#endif
