/* prelude.c -- what compiled functions do inline with counts and memory: LLVM IR
 * in text, into which the offsets of this build's structures are written.
 *
 * These are the fast paths of vm/heap.h; what is not in a free list, and what
 * is not one small tensor, goes to the runtime.                              */
#include "codegen/llvm/func.h"
#include <llvm-c/IRReader.h>
#include <stdio.h>
#include <stdlib.h>
#include "vm/instance.h"

static const struct {
  const char *name;
  size_t value;
} offset[] = {
    {"$cells", offsetof(rvm_instance, heap.cells.free)},
    {"$bytes", offsetof(rvm_instance, heap.bytes.free)},
    {"$live", offsetof(rvm_instance, heap.live)},
    {"$allocations", offsetof(rvm_instance, heap.allocations)},
    {"$limit", offsetof(rvm_instance, native.stack_limit)},
    {"$head", offsetof(Cell, desc)},
    {"$kind", offsetof(Cell, kind)},
    {"$flags", offsetof(Cell, flags)},
    {"$data", offsetof(Tensor, data)},
    {"$count", offsetof(Tensor, count)},
    {"$owner", offsetof(Tensor, owner)},
    {"$watch", offsetof(rvm_instance, heap.watch)},
    {"$others", CF_LENT | CF_IMMORTAL},
    {"$class", CF_CLASS},
};

static const char text[] =
    "declare void @rvm.release(ptr, ptr) nounwind\n"
    "declare i64 @llvm.read_register.i64(metadata)\n"
    "\n"
    "; One owner more.\n"
    "define internal void @dup_cell(ptr %c) alwaysinline nounwind {\n"
    "  %n = load i32, ptr %c, align 8\n"
    "  %stays = icmp eq i32 %n, -1\n"
    "  br i1 %stays, label %done, label %count\n"
    "count:\n"
    "  %m = add nuw i32 %n, 1\n"
    "  store i32 %m, ptr %c, align 8\n"
    "  ret void\n"
    "done:\n"
    "  ret void\n"
    "}\n"
    "define internal void @dup_data(ptr %v) alwaysinline nounwind {\n"
    "  %i = ptrtoint ptr %v to i64\n"
    "  %odd = trunc i64 %i to i1\n"
    "  br i1 %odd, label %done, label %cell\n"
    "cell:\n"
    "  call void @dup_cell(ptr %v)\n"
    "  ret void\n"
    "done:\n"
    "  ret void\n"
    "}\n"
    "\n"
    "; One owner less: is it gone?\n"
    "define internal i1 @lose(ptr %c) alwaysinline nounwind {\n"
    "  %n = load i32, ptr %c, align 8\n"
    "  %stays = icmp eq i32 %n, -1\n"
    "  br i1 %stays, label %done, label %count\n"
    "count:\n"
    "  %m = sub i32 %n, 1\n"
    "  store i32 %m, ptr %c, align 8\n"
    "  %gone = icmp eq i32 %m, 0\n"
    "  ret i1 %gone\n"
    "done:\n"
    "  ret i1 false\n"
    "}\n"
    "define internal void @drop_cell(ptr %vm, ptr %c) alwaysinline nounwind {\n"
    "  %gone = call i1 @lose(ptr %c)\n"
    "  br i1 %gone, label %free, label %done\n"
    "free:\n"
    "  call void @rvm.release(ptr %vm, ptr %c)\n"
    "  ret void\n"
    "done:\n"
    "  ret void\n"
    "}\n"
    "define internal void @drop_data(ptr %vm, ptr %v) alwaysinline nounwind {\n"
    "  %i = ptrtoint ptr %v to i64\n"
    "  %odd = trunc i64 %i to i1\n"
    "  br i1 %odd, label %done, label %cell\n"
    "cell:\n"
    "  call void @drop_cell(ptr %vm, ptr %v)\n"
    "  ret void\n"
    "done:\n"
    "  ret void\n"
    "}\n"
    "define internal void @push(ptr %list, ptr %b) alwaysinline nounwind {\n"
    "  %old = load ptr, ptr %list, align 8\n"
    "  store ptr %old, ptr %b, align 8\n"
    "  store ptr %b, ptr %list, align 8\n"
    "  ret void\n"
    "}\n"
    "define internal void @free_cell(ptr %vm, ptr %c, i64 %class) alwaysinline nounwind {\n"
    "  %kind = getelementptr i8, ptr %c, i64 $kind\n"
    "  store i8 0, ptr %kind, align 2\n"
    "  %live = getelementptr i8, ptr %vm, i64 $live\n"
    "  %n = load i64, ptr %live, align 8\n"
    "  %m = sub i64 %n, 1\n"
    "  store i64 %m, ptr %live, align 8\n"
    "  %lists = getelementptr i8, ptr %vm, i64 $cells\n"
    "  %list = getelementptr ptr, ptr %lists, i64 %class\n"
    "  call void @push(ptr %list, ptr %c)\n"
    "  ret void\n"
    "}\n"
    "; Nobody watches the tensors.\n"
    "define internal i1 @alone(ptr %vm) alwaysinline nounwind {\n"
    "  %p = getelementptr i8, ptr %vm, i64 $watch\n"
    "  %f = load ptr, ptr %p, align 8\n"
    "  %none = icmp eq ptr %f, null\n"
    "  ret i1 %none\n"
    "}\n"
    "; Is there one owner, and is the memory the tensor's own?\n"
    "define internal i1 @only_owner(ptr %t) alwaysinline nounwind {\n"
    "  %n = load i32, ptr %t, align 8\n"
    "  %po = getelementptr i8, ptr %t, i64 $owner\n"
    "  %owner = load ptr, ptr %po, align 8\n"
    "  %pf = getelementptr i8, ptr %t, i64 $flags\n"
    "  %flags = load i8, ptr %pf, align 1\n"
    "  %one = icmp eq i32 %n, 1\n"
    "  %own = icmp eq ptr %owner, null\n"
    "  %not = and i8 %flags, $others\n"
    "  %plain = icmp eq i8 %not, 0\n"
    "  %a = and i1 %one, %own\n"
    "  %b = and i1 %a, %plain\n"
    "  ret i1 %b\n"
    "}\n"
    "; A tensor whose elements are `each` bytes.\n"
    "define internal void @free_tensor(ptr %vm, ptr %t, i64 %each) noinline nounwind {\n"
    "  %po = getelementptr i8, ptr %t, i64 $owner\n"
    "  %owner = load ptr, ptr %po, align 8\n"
    "  %pf = getelementptr i8, ptr %t, i64 $flags\n"
    "  %flags = load i8, ptr %pf, align 1\n"
    "  %pc = getelementptr i8, ptr %t, i64 $count\n"
    "  %count = load i64, ptr %pc, align 8\n"
    "  %own = icmp eq ptr %owner, null\n"
    "  %not = and i8 %flags, $others\n"
    "  %plain = icmp eq i8 %not, 0\n"
    "  %bytes = mul i64 %count, %each\n"
    "  %less = sub i64 %bytes, 1\n"
    "  %small = icmp ult i64 %less, 4096\n"
    "  %a = and i1 %own, %plain\n"
    "  %b = and i1 %a, %small\n"
    "  %alone = call i1 @alone(ptr %vm)\n"
    "  %c = and i1 %b, %alone\n"
    "  br i1 %c, label %fast, label %slow\n"
    "fast:\n"
    "  %pd = getelementptr i8, ptr %t, i64 $data\n"
    "  %data = load ptr, ptr %pd, align 8\n"
    "  %class = call i64 @class_of(i64 %bytes)\n"
    "  %lists = getelementptr i8, ptr %vm, i64 $bytes\n"
    "  %list = getelementptr ptr, ptr %lists, i64 %class\n"
    "  call void @push(ptr %list, ptr %data)\n"
    "  %low = and i8 %flags, $class\n"
    "  %cc = zext i8 %low to i64\n"
    "  call void @free_cell(ptr %vm, ptr %t, i64 %cc)\n"
    "  ret void\n"
    "slow:\n"
    "  call void @rvm.release(ptr %vm, ptr %t)\n"
    "  ret void\n"
    "}\n"
    "define internal void @drop_tensor(ptr %vm, ptr %t, i64 %each) alwaysinline nounwind {\n"
    "  %gone = call i1 @lose(ptr %t)\n"
    "  br i1 %gone, label %free, label %done\n"
    "free:\n"
    "  call void @free_tensor(ptr %vm, ptr %t, i64 %each)\n"
    "  ret void\n"
    "done:\n"
    "  ret void\n"
    "}\n"
    "\n"
    "; The same for long functions.\n"
    "define internal void @outline.drop_tensor(ptr %vm, ptr %t, i64 %each) noinline nounwind {\n"
    "  call void @drop_tensor(ptr %vm, ptr %t, i64 %each)\n"
    "  ret void\n"
    "}\n"
    "define internal void @outline.drop_cell(ptr %vm, ptr %c) noinline nounwind {\n"
    "  call void @drop_cell(ptr %vm, ptr %c)\n"
    "  ret void\n"
    "}\n"
    "define internal void @outline.drop_data(ptr %vm, ptr %v) noinline nounwind {\n"
    "  call void @drop_data(ptr %vm, ptr %v)\n"
    "  ret void\n"
    "}\n"
    "\n"
    "; One owner less of a record; was it the last?  Then its memory is free, and what it held\n"
    "; the caller's.\n"
    "define internal i1 @outline.lose_record(ptr %vm, ptr %c, i64 %class) noinline nounwind {\n"
    "  %gone = call i1 @lose(ptr %c)\n"
    "  br i1 %gone, label %free, label %done\n"
    "free:\n"
    "  call void @free_cell(ptr %vm, ptr %c, i64 %class)\n"
    "  ret i1 true\n"
    "done:\n"
    "  ret i1 false\n"
    "}\n"
    "\n"
    "; Size classes of tensor data, by bytes / 64 rounded up.\n"
    "@classes = internal unnamed_addr constant [65 x i8] [$classes]\n"
    "define internal i64 @class_of(i64 %bytes) alwaysinline nounwind {\n"
    "  %up = add i64 %bytes, 63\n"
    "  %i = lshr i64 %up, 6\n"
    "  %p = getelementptr i8, ptr @classes, i64 %i\n"
    "  %c = load i8, ptr %p, align 1\n"
    "  %r = zext i8 %c to i64\n"
    "  ret i64 %r\n"
    "}\n"
    "\n"
    "; A cell or tensor from the free lists, its header written; null: they are empty.\n"
    "define internal void @made(ptr %vm, ptr %c, i64 %head) alwaysinline nounwind {\n"
    "  %live = getelementptr i8, ptr %vm, i64 $live\n"
    "  %n = load i64, ptr %live, align 8\n"
    "  %n1 = add i64 %n, 1\n"
    "  store i64 %n1, ptr %live, align 8\n"
    "  %all = getelementptr i8, ptr %vm, i64 $allocations\n"
    "  %m = load i64, ptr %all, align 8\n"
    "  %m1 = add i64 %m, 1\n"
    "  store i64 %m1, ptr %all, align 8\n"
    "  store i64 1, ptr %c, align 8\n"
    "  %ph = getelementptr i8, ptr %c, i64 $head\n"
    "  store i64 %head, ptr %ph, align 8\n"
    "  ret void\n"
    "}\n"
    "define internal ptr @take_cell(ptr %vm, i64 %class, i64 %head) alwaysinline nounwind {\n"
    "  %lists = getelementptr i8, ptr %vm, i64 $cells\n"
    "  %list = getelementptr ptr, ptr %lists, i64 %class\n"
    "  %c = load ptr, ptr %list, align 8\n"
    "  %none = icmp eq ptr %c, null\n"
    "  br i1 %none, label %slow, label %fast\n"
    "fast:\n"
    "  %next = load ptr, ptr %c, align 8\n"
    "  store ptr %next, ptr %list, align 8\n"
    "  call void @made(ptr %vm, ptr %c, i64 %head)\n"
    "  ret ptr %c\n"
    "slow:\n"
    "  ret ptr null\n"
    "}\n"
    "define internal ptr @take_tensor(ptr %vm, i64 %class, i64 %head, i64 %count, i64 %bytes)"
    " alwaysinline nounwind {\n"
    "  %less = sub i64 %bytes, 1\n"
    "  %small = icmp ult i64 %less, 4096\n"
    "  %alone = call i1 @alone(ptr %vm)\n"
    "  %quick = and i1 %small, %alone\n"
    "  br i1 %quick, label %try, label %slow\n"
    "try:\n"
    "  %lists = getelementptr i8, ptr %vm, i64 $cells\n"
    "  %list = getelementptr ptr, ptr %lists, i64 %class\n"
    "  %c = load ptr, ptr %list, align 8\n"
    "  %class2 = call i64 @class_of(i64 %bytes)\n"
    "  %lists2 = getelementptr i8, ptr %vm, i64 $bytes\n"
    "  %list2 = getelementptr ptr, ptr %lists2, i64 %class2\n"
    "  %d = load ptr, ptr %list2, align 8\n"
    "  %no = icmp eq ptr %c, null\n"
    "  br i1 %no, label %slow, label %try2\n"
    "try2:\n"
    "  %no2 = icmp eq ptr %d, null\n"
    "  br i1 %no2, label %slow, label %fast\n"
    "fast:\n"
    "  %next = load ptr, ptr %c, align 8\n"
    "  store ptr %next, ptr %list, align 8\n"
    "  %next2 = load ptr, ptr %d, align 8\n"
    "  store ptr %next2, ptr %list2, align 8\n"
    "  call void @made(ptr %vm, ptr %c, i64 %head)\n"
    "  %pd = getelementptr i8, ptr %c, i64 $data\n"
    "  store ptr %d, ptr %pd, align 8\n"
    "  %pc = getelementptr i8, ptr %c, i64 $count\n"
    "  store i64 %count, ptr %pc, align 8\n"
    "  %po = getelementptr i8, ptr %c, i64 $owner\n"
    "  store ptr null, ptr %po, align 8\n"
    "  ret ptr %c\n"
    "slow:\n"
    "  ret ptr null\n"
    "}\n"
    "\n"
    "define internal i1 @low_stack(ptr %vm) alwaysinline nounwind {\n"
    "  %sp = call i64 @llvm.read_register.i64(metadata !{!\"rsp\"})\n"
    "  %p = getelementptr i8, ptr %vm, i64 $limit\n"
    "  %limit = load i64, ptr %p, align 8\n"
    "  %low = icmp ult i64 %sp, %limit\n"
    "  ret i1 %low\n"
    "}\n";

static size_t write_classes(char *to, size_t n) {
  size_t at = 0;
  for (size_t i = 0; i <= 64; i++)
    at += (size_t)snprintf(to + at, n - at, "%si8 %d", i ? ", " : "", heap_class(i * 64));
  return at;
}

/* The value of the longest name that p begins with; its length in *len. */
static size_t written(const char *p, char *to, size_t room, size_t *len) {
  static const char classes[] = "$classes";
  *len = sizeof classes - 1;
  if (strncmp(p, classes, *len) == 0) return write_classes(to, room);
  size_t best = 0;
  *len = 0;
  for (size_t i = 0; i < sizeof offset / sizeof *offset; i++) {
    size_t n = strlen(offset[i].name);
    if (n > *len && strncmp(p, offset[i].name, n) == 0) {
      *len = n;
      best = offset[i].value;
    }
  }
  return (size_t)snprintf(to, room, "%zu", best);
}

LLVMModuleRef prelude_module(LLVMContextRef c, const char **why) {
  size_t room = sizeof text + 4096, n = 0, len;
  char *out = malloc(room), *message = NULL;
  LLVMModuleRef m = NULL;
  *why = "out of memory";
  if (!out) return NULL;
  for (const char *p = text; *p; p += len) {
    len = 1;
    if (*p == '$')
      n += written(p, out + n, room - n, &len);
    else
      out[n++] = *p;
  }
  LLVMMemoryBufferRef b = LLVMCreateMemoryBufferWithMemoryRangeCopy(out, n, "prelude");
  free(out);
  *why = "the prelude of compiled functions is not LLVM IR";
  if (LLVMParseIRInContext(c, b, &m, &message)) m = NULL;
  LLVMDisposeMessage(message);
  return m;
}
