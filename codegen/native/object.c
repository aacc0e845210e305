/* object.c -- see object.h.
 *
 * All sections that occupy memory are laid out in one mapping: code, then
 * read-only data, then the rest, each part on pages of its own; behind the code
 * a jump for every outside function (it may be further away than a call
 * reaches), behind the data an address for every name reached through a table.
 *
 * The memory is mmap's and malloc's: programs hold pointers to it where a
 * collector does not look.                                                   */
#define _GNU_SOURCE
#include "codegen/native/object.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef enum { PART_CODE, PART_CONST, PART_DATA, PARTS } Part;
enum { JUMP_BYTES = 16, MOST = 1 << 30 };

typedef struct {
  char *name; /* of the object's own copy      */
  uint8_t *at;
  size_t size;
  bool code;
} Symbol;

struct Object {
  uint8_t *base;
  size_t bytes, part[PARTS + 1]; /* offsets of the parts          */
  Symbol *symbol;
  size_t n_symbols;
  char *names;
};

typedef struct {
  const uint8_t *bytes;
  size_t n;
  const Elf64_Shdr *sec;
  size_t n_secs;
  const Elf64_Sym *sym;
  size_t n_syms;
  const char *str;
  size_t n_str;
  size_t *at; /* per section: its offset in the mapping, or SIZE_MAX */
} File;

typedef struct {
  const char *name;
  uint64_t address;
} Outside;

typedef struct {
  Object *o;
  File *file;
  size_t n_files;
  Outside *out; /* sorted by name                */
  size_t n_out, jumps, table;
  size_t end[PARTS];
  ObjectResolve resolve;
  void *user;
} Link;

/* ---- reading ------------------------------------------------------------------ */
static bool inside(const File *f, uint64_t at, uint64_t n) { return at <= f->n && n <= f->n - at; }

static bool read_symbols(File *f, const Elf64_Shdr *s) {
  if (s->sh_link >= f->n_secs || s->sh_offset % 8 != 0) return false;
  const Elf64_Shdr *str = &f->sec[s->sh_link];
  if (str->sh_type != SHT_STRTAB) return false;
  f->sym = (const Elf64_Sym *)(f->bytes + s->sh_offset);
  f->n_syms = s->sh_size / sizeof *f->sym;
  f->str = (const char *)f->bytes + str->sh_offset;
  f->n_str = str->sh_size;
  return f->n_str > 0 && f->str[f->n_str - 1] == 0;
}

static bool read_file(File *f, ObjectFile in) {
  const Elf64_Ehdr *h = in.bytes;
  *f = (File){.bytes = in.bytes, .n = in.n};
  if (in.n < sizeof *h || (uintptr_t)in.bytes % 8 != 0) return false;
  if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64) return false;
  if (h->e_machine != EM_X86_64 || h->e_type != ET_REL || h->e_shoff % 8 != 0) return false;
  f->n_secs = h->e_shnum;
  if (!inside(f, h->e_shoff, f->n_secs * sizeof *f->sec)) return false;
  f->sec = (const Elf64_Shdr *)(f->bytes + h->e_shoff);
  for (size_t i = 0; i < f->n_secs; i++)
    if (f->sec[i].sh_type != SHT_NOBITS && !inside(f, f->sec[i].sh_offset, f->sec[i].sh_size))
      return false;
  for (size_t i = 0; i < f->n_secs; i++)
    if (f->sec[i].sh_type == SHT_SYMTAB && !read_symbols(f, &f->sec[i])) return false;
  f->at = malloc((f->n_secs + 1) * sizeof *f->at);
  return f->at != NULL && f->sym != NULL;
}

static const char *symbol_name(const File *f, const Elf64_Sym *s) {
  return s->st_name < f->n_str ? f->str + s->st_name : "";
}
static bool is_defined(const File *f, const Elf64_Sym *s) {
  return s->st_shndx < f->n_secs && s->st_shndx != SHN_UNDEF && f->at[s->st_shndx] != SIZE_MAX &&
         s->st_value <= f->sec[s->st_shndx].sh_size;
}

/* ---- layout ------------------------------------------------------------------- */
static bool wanted(const Elf64_Shdr *s) { /* no one unwinds this code      */
  return (s->sh_flags & SHF_ALLOC) && s->sh_size > 0 && s->sh_type != SHT_X86_64_UNWIND;
}
static Part part_of(const Elf64_Shdr *s) {
  if (s->sh_flags & SHF_EXECINSTR) return PART_CODE;
  return s->sh_flags & SHF_WRITE ? PART_DATA : PART_CONST;
}

static bool place(Link *l, Part part) {
  size_t at = l->end[part];
  for (size_t i = 0; i < l->n_files; i++)
    for (size_t k = 0; k < l->file[i].n_secs; k++) {
      const Elf64_Shdr *s = &l->file[i].sec[k];
      if (!wanted(s) || part_of(s) != part) continue;
      uint64_t align = s->sh_addralign ? s->sh_addralign : 1;
      if (align > 4096 || (align & (align - 1)) || s->sh_size > MOST) return false;
      at = (at + align - 1) & ~(align - 1);
      l->file[i].at[k] = at;
      at += s->sh_size;
      if (at > MOST) return false;
    }
  l->end[part] = at;
  return true;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const Outside *)a)->name, ((const Outside *)b)->name);
}
static int by_symbol(const void *a, const void *b) {
  return strcmp(((const Symbol *)a)->name, ((const Symbol *)b)->name);
}

/* Every name some file leaves open, once. */
static bool list_outside(Link *l) {
  size_t n = 0;
  for (size_t i = 0; i < l->n_files; i++)
    for (size_t k = 1; k < l->file[i].n_syms; k++) n += l->file[i].sym[k].st_shndx == SHN_UNDEF;
  l->out = malloc((n + 1) * sizeof *l->out);
  if (!l->out) return false;
  for (size_t i = 0; i < l->n_files; i++)
    for (size_t k = 1; k < l->file[i].n_syms; k++)
      if (l->file[i].sym[k].st_shndx == SHN_UNDEF)
        l->out[l->n_out++] = (Outside){symbol_name(&l->file[i], &l->file[i].sym[k]), 0};
  qsort(l->out, l->n_out, sizeof *l->out, by_name);
  n = 0;
  for (size_t i = 0; i < l->n_out; i++)
    if (n == 0 || strcmp(l->out[n - 1].name, l->out[i].name) != 0) l->out[n++] = l->out[i];
  l->n_out = n;
  return true;
}

static bool lay_out(Link *l) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE), at = 0;
  Object *o = l->o;
  for (size_t i = 0; i < l->n_files; i++)
    for (size_t k = 0; k < l->file[i].n_secs; k++) l->file[i].at[k] = SIZE_MAX;
  for (int p = 0; p < PARTS; p++) {
    o->part[p] = l->end[p] = at;
    if (!place(l, (Part)p)) return false;
    at = (l->end[p] + 15) & ~(size_t)15;
    if (p == PART_CODE) {
      l->jumps = at;
      at += l->n_out * JUMP_BYTES;
    }
    if (p == PART_CONST) {
      l->table = at;
      at += l->n_out * 8;
    }
    at = (at + page - 1) / page * page;
  }
  o->part[PARTS] = o->bytes = at ? at : page;
  void *m = mmap(NULL, o->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  o->base = m == MAP_FAILED ? NULL : m;
  return o->base != NULL;
}

static void copy_sections(Link *l) {
  for (size_t i = 0; i < l->n_files; i++)
    for (size_t k = 0; k < l->file[i].n_secs; k++) {
      const Elf64_Shdr *s = &l->file[i].sec[k];
      if (l->file[i].at[k] != SIZE_MAX && s->sh_type != SHT_NOBITS)
        memcpy(l->o->base + l->file[i].at[k], l->file[i].bytes + s->sh_offset, s->sh_size);
    }
}

/* ---- symbols ------------------------------------------------------------------- */
/* Functions of all kinds, and what others can see. */
static bool kept(const File *f, const Elf64_Sym *s) {
  return is_defined(f, s) && s->st_name != 0 &&
         (ELF64_ST_BIND(s->st_info) != STB_LOCAL || ELF64_ST_TYPE(s->st_info) == STT_FUNC);
}

static bool list_symbols(Link *l) {
  Object *o = l->o;
  size_t n = 0, text = 0;
  for (size_t i = 0; i < l->n_files; i++)
    for (size_t k = 1; k < l->file[i].n_syms; k++)
      if (kept(&l->file[i], &l->file[i].sym[k])) {
        n++;
        text += strlen(symbol_name(&l->file[i], &l->file[i].sym[k])) + 1;
      }
  o->symbol = malloc((n + 1) * sizeof *o->symbol);
  o->names = malloc(text + 1);
  if (!o->symbol || !o->names) return false;
  char *to = o->names;
  for (size_t i = 0; i < l->n_files; i++)
    for (size_t k = 1; k < l->file[i].n_syms; k++) {
      const Elf64_Sym *s = &l->file[i].sym[k];
      if (!kept(&l->file[i], s)) continue;
      size_t len = strlen(symbol_name(&l->file[i], s)) + 1;
      memcpy(to, symbol_name(&l->file[i], s), len);
      o->symbol[o->n_symbols++] = (Symbol){to, o->base + l->file[i].at[s->st_shndx] + s->st_value,
                                           s->st_size, ELF64_ST_TYPE(s->st_info) == STT_FUNC};
      to += len;
    }
  qsort(o->symbol, o->n_symbols, sizeof *o->symbol, by_symbol);
  return true;
}

void *object_find(const Object *o, const char *name) {
  Symbol key = {.name = (char *)(uintptr_t)name};
  const Symbol *s = bsearch(&key, o->symbol, o->n_symbols, sizeof *o->symbol, by_symbol);
  return s ? s->at : NULL;
}

void object_each(const Object *o, void (*f)(void *, const char *, uintptr_t, size_t), void *user) {
  for (size_t i = 0; i < o->n_symbols; i++)
    if (o->symbol[i].code)
      f(user, o->symbol[i].name, (uintptr_t)o->symbol[i].at, o->symbol[i].size);
}

/* A jump through the address behind it:  jmp *2(%rip); ud2; address */
static void make_jump(uint8_t *at, uint64_t to) {
  static const uint8_t code[8] = {0xff, 0x25, 2, 0, 0, 0, 0x0f, 0x0b};
  memcpy(at, code, 8);
  memcpy(at + 8, &to, 8);
}

static bool find_outside(Link *l) {
  for (size_t i = 0; i < l->n_out; i++) {
    void *at = object_find(l->o, l->out[i].name);
    if (!at) at = l->resolve(l->user, l->out[i].name);
    if (!at) return false;
    l->out[i].address = (uint64_t)(uintptr_t)at;
    make_jump(l->o->base + l->jumps + i * JUMP_BYTES, l->out[i].address);
    memcpy(l->o->base + l->table + i * 8, &l->out[i].address, 8);
  }
  return true;
}

/* ---- relocations ------------------------------------------------------------------ */
static size_t outside_index(const Link *l, const char *name) {
  Outside key = {name, 0};
  const Outside *o = bsearch(&key, l->out, l->n_out, sizeof *l->out, by_name);
  return o ? (size_t)(o - l->out) : SIZE_MAX;
}

/* The value stored: 8 bytes, or 4 that must hold it. */
static bool put(uint8_t *at, uint64_t v, bool wide) {
  if (wide) {
    memcpy(at, &v, 8);
    return true;
  }
  int64_t s = (int64_t)v;
  int32_t low = (int32_t)s;
  memcpy(at, &low, 4);
  return s == low;
}

static bool relocate(Link *l, const File *f, size_t section, const Elf64_Rela *r) {
  uint32_t type = (uint32_t)ELF64_R_TYPE(r->r_info);
  size_t number = ELF64_R_SYM(r->r_info);
  bool wide = type == R_X86_64_64 || type == R_X86_64_PC64;
  if (number >= f->n_syms || r->r_offset > f->sec[section].sh_size ||
      f->sec[section].sh_size - r->r_offset < (wide ? 8u : 4u))
    return false;
  const Elf64_Sym *s = &f->sym[number];
  uint8_t *at = l->o->base + f->at[section] + r->r_offset;
  uint64_t here = (uint64_t)(uintptr_t)at, add = (uint64_t)r->r_addend, to, slot = 0;
  bool open = s->st_shndx == SHN_UNDEF;
  if (open) {
    size_t i = outside_index(l, symbol_name(f, s));
    if (i == SIZE_MAX) return false;
    to = l->out[i].address;
    slot = (uint64_t)(uintptr_t)(l->o->base + l->table + i * 8);
    if (type == R_X86_64_PLT32) to = (uint64_t)(uintptr_t)(l->o->base + l->jumps + i * JUMP_BYTES);
  } else if (is_defined(f, s)) {
    to = (uint64_t)(uintptr_t)(l->o->base + f->at[s->st_shndx]) + s->st_value;
  } else {
    return false;
  }
  switch (type) {
  case R_X86_64_64: return put(at, to + add, true);
  case R_X86_64_PC64: return put(at, to + add - here, true);
  case R_X86_64_PC32:
  case R_X86_64_PLT32: return put(at, to + add - here, false);
  case R_X86_64_GOTPCREL:
  case R_X86_64_GOTPCRELX:
  case R_X86_64_REX_GOTPCRELX: return open && put(at, slot + add - here, false);
  default: return false;
  }
}

static bool relocate_all(Link *l) {
  for (size_t i = 0; i < l->n_files; i++) {
    const File *f = &l->file[i];
    for (size_t k = 0; k < f->n_secs; k++) {
      const Elf64_Shdr *s = &f->sec[k];
      if (s->sh_type != SHT_RELA || s->sh_info >= f->n_secs || f->at[s->sh_info] == SIZE_MAX)
        continue;
      if (s->sh_offset % 8 != 0) return false;
      const Elf64_Rela *r = (const Elf64_Rela *)(f->bytes + s->sh_offset);
      for (size_t n = s->sh_size / sizeof *r; n > 0; n--, r++)
        if (!relocate(l, f, s->sh_info, r)) return false;
    }
  }
  return true;
}

static bool protect(const Object *o) {
  static const int access[PARTS] = {PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_WRITE};
  for (int p = 0; p < PARTS; p++) {
    size_t n = o->part[p + 1] - o->part[p];
    if (n > 0 && mprotect(o->base + o->part[p], n, access[p]) != 0) return false;
  }
  return true;
}

/* ---- all of it ---------------------------------------------------------------------- */
static const char *link_files(Link *l, const ObjectFile *in) {
  for (size_t i = 0; i < l->n_files; i++)
    if (!read_file(&l->file[i], in[i])) return "the machine code is not an object for this machine";
  if (!list_outside(l) || !lay_out(l)) return "no memory for the machine code";
  copy_sections(l);
  if (!list_symbols(l)) return "no memory for the machine code";
  if (!find_outside(l)) return "the machine code calls what this rvm does not have";
  if (!relocate_all(l)) return "the machine code cannot be placed in memory";
  return protect(l->o) ? NULL : "the machine code cannot be made executable";
}

Object *object_load(const ObjectFile *file, size_t n, ObjectResolve resolve, void *user,
                    const char **why) {
  Link l = {.o = calloc(1, sizeof *l.o), .n_files = n, .resolve = resolve, .user = user};
  l.file = calloc(n + 1, sizeof *l.file);
  *why = l.o && l.file ? link_files(&l, file) : "no memory for the machine code";
  for (size_t i = 0; l.file && i < n; i++) free(l.file[i].at);
  free(l.file);
  free(l.out);
  if (!*why) return l.o;
  object_free(l.o);
  return NULL;
}

void object_free(Object *o) {
  if (!o) return;
  if (o->base) munmap(o->base, o->bytes);
  free(o->symbol);
  free(o->names);
  free(o);
}
