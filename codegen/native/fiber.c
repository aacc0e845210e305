/* fiber.c -- see fiber.h.                                                     */
#define _GNU_SOURCE
#include "codegen/native/fiber.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#define HAS_ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#else
#define HAS_ASAN 0
#endif
#if HAS_ASAN
#include <sanitizer/asan_interface.h>
#define BEFORE(save, low, n) __sanitizer_start_switch_fiber(save, low, n)
#define AFTER(save, low, n) __sanitizer_finish_switch_fiber(save, low, n)
#else
#define BEFORE(save, low, n) ((void)0)
#define AFTER(save, low, n) ((void)0)
#endif

enum { LEAST = 1 << 20 };

/* Frames that were left for good stand between where the fiber was left and its top: the address
 * sanitizer is told that they are gone.                                                        */
static void forget_frames(Fiber *f) {
#if HAS_ASAN
  if (f->inner)
    __asan_unpoison_memory_region(f->inner, (size_t)(fiber_top(f) - (uint8_t *)f->inner));
#endif
  f->inner = NULL;
}

bool fiber_new(Fiber *f, size_t bytes) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  *f = (Fiber){0};
  for (bytes = (bytes + page - 1) / page * page; bytes >= LEAST; bytes = bytes / 2 / page * page) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (p == MAP_FAILED) continue;
    f->low = p;
    f->bytes = bytes;
    if (mprotect(p, page, PROT_NONE) == 0) return true;
    fiber_free(f);
    return false;
  }
  return false;
}

void fiber_free(Fiber *f) {
  forget_frames(f);
  if (f->low) munmap(f->low, f->bytes);
  f->low = NULL;
}

void fiber_trim(Fiber *f, size_t keep) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  keep = (keep + page - 1) / page * page;
  if (keep + page < f->bytes) madvise(f->low + page, f->bytes - page - keep, MADV_DONTNEED);
}

#if defined(__x86_64__)
/* rvm_fiber_switch(void **save, void *to): what a call must keep is pushed on
 * the stack that is left, and popped from the one gone to.  A new stack has
 * been written so that the pops give rvm_fiber_first its argument and function. */
__asm__(".text\n"
        ".type rvm_fiber_switch, @function\n"
        "rvm_fiber_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size rvm_fiber_switch, .-rvm_fiber_switch\n"
        ".type rvm_fiber_first, @function\n"
        "rvm_fiber_first:\n"
        "  movq %r12, %rdi\n  callq *%r13\n  ud2\n"
        ".size rvm_fiber_first, .-rvm_fiber_first\n");
void rvm_fiber_switch(void **save, void *to) __asm__("rvm_fiber_switch");
void rvm_fiber_first(void) __asm__("rvm_fiber_first");

static void enter(Fiber *f) {
  void *fake = NULL;
  (void)fake;
  BEFORE(&fake, f->low, f->bytes);
  rvm_fiber_switch(&f->outer, f->inner);
  AFTER(fake, NULL, NULL);
}

static void first(void *fiber) {
  Fiber *f = fiber;
  AFTER(NULL, &f->outer_low, &f->outer_bytes);
  f->fn(f->arg);
}

void fiber_start(Fiber *f, void (*fn)(void *), void *arg) {
  uint64_t *sp = (uint64_t *)(void *)fiber_top(f) - 9;
  forget_frames(f);
  f->fn = fn;
  f->arg = arg;
  memset(sp, 0, 9 * sizeof *sp);
  sp[2] = (uint64_t)(uintptr_t)first; /* r13 */
  sp[3] = (uint64_t)(uintptr_t)f;     /* r12 */
  sp[6] = (uint64_t)(uintptr_t)rvm_fiber_first;
  f->inner = sp;
  f->fake = NULL;
  enter(f);
}

void fiber_resume(Fiber *f) { enter(f); }

void fiber_leave(Fiber *f) {
  BEFORE(&f->fake, f->outer_low, f->outer_bytes);
  rvm_fiber_switch(&f->inner, f->outer);
  AFTER(f->fake, &f->outer_low, &f->outer_bytes);
}
#else
#error "the stacks of compiled programs are written for x86-64: configure with -DRVM_LLVM=OFF"
#endif
