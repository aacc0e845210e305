/* parse.c -- the frame of the parser: tokens and recovery, the definitions of
 * a file, and the order in which they are read (see parse.h).                 */
#include "parser/parse.h"

/* ---- tokens ------------------------------------------------------------- */

void advance(Parser *p) {
  int n = p->d->n_errors;
  p->prev = p->tok;
  p->tok = lex_next(&p->lx);
  if (p->d->n_errors > n) p->failed_at = p->tok.span.at; /* not a second time: it is unexpected */
}

bool at_tok(const Parser *p, Tok k) { return p->tok.kind == k; }

bool accept(Parser *p, Tok k) {
  if (p->tok.kind != k || p->panic) return false;
  advance(p);
  return true;
}

Token peek(const Parser *p) {
  Lexer ahead = p->lx;
  ahead.d = NULL;
  return lex_next(&ahead);
}

Sym tok_sym(Parser *p, const Token *t) { return sym_n(p->cx->syms, t->s, t->n); }

uint32_t first_part(const Token *t) {
  const char *slash = t->n ? memchr(t->s, '/', t->n) : NULL;
  return slash ? (uint32_t)(slash - t->s) : t->n;
}

void split_name(Parser *p) {
  uint32_t sigil = (uint32_t)(p->tok.kind == T_LOCAL || p->tok.kind == T_GLOBAL);
  p->tok.n = first_part(&p->tok);
  p->tok.span.len = p->tok.n + sigil;
  p->lx.pos = p->tok.span.at + p->tok.span.len;
  if (p->tok.kind == T_IDENT) p->tok.kind = lex_keyword(p->tok.s, p->tok.n);
}

/* ---- mistakes ------------------------------------------------------------- */

bool may_report(const Parser *p) { return !p->panic && !p->give_up; }

/* After recovery the same token may be unexpected to what is around, too. */
bool begin_fail(Parser *p) {
  bool report = may_report(p) && p->failed_at != p->tok.span.at;
  p->panic = true;
  p->failed_at = p->tok.span.at;
  return report;
}

bool starts_item(const Parser *p) {
  switch ((int)p->tok.kind) {
  case T_EOF:
  case T_DEF:
  case T_EXTERN:
  case T_METADATA: return true;
  case T_TYPE: return peek(p).kind != T_ASSIGN;
  default: return false;
  }
}

/* Whatever follows a definition that lacks its end would be noise. */
static void end_of_text(Parser *p) {
  if (starts_item(p)) p->give_up = true;
}

bool fail_expected(Parser *p, const char *what) {
  if (begin_fail(p)) {
    diag_error(p->d, p->tok.span, E0103, what, tok_found(&p->tok));
    hint_expected(p, what);
  }
  end_of_text(p);
  return false;
}

bool expect(Parser *p, Tok k, Span opened) {
  if (accept(p, k)) return true;
  if (begin_fail(p)) {
    diag_error(p->d, p->tok.span, E0103, tok_text(k), tok_found(&p->tok));
    if (opened.file) diag_note(p->d, opened, "opened here");
    hint_expected(p, tok_text(k));
  }
  end_of_text(p);
  return false;
}

void forgotten(Parser *p, Tok k, Span in, const char *note) {
  Span behind = {p->prev.span.file, p->prev.span.at + p->prev.span.len, 1};
  if (begin_fail(p)) {
    diag_error(p->d, behind, E0103, tok_text(k), tok_found(&p->tok));
    diag_note(p->d, in, "%s", note);
  }
  end_of_text(p);
  p->panic = p->give_up;
}

bool deeper(Parser *p, Span at) {
  if (p->depth < MAX_DEPTH) {
    p->depth++;
    return true;
  }
  if (begin_fail(p)) diag_error(p->d, at, E0106, "the text", MAX_DEPTH);
  p->give_up = true;
  return false;
}

/* Behind the next `;` of this nesting, or at what closes it. */
void skip_to_statement_end(Parser *p) {
  int depth = 0;
  for (;; advance(p)) {
    switch ((int)p->tok.kind) {
    case T_LPAREN:
    case T_LBRACE:
    case T_LBRACK: depth++; continue;
    case T_RPAREN:
    case T_RBRACE:
      if (depth-- == 0) return;
      continue;
    case T_RBRACK:
      if (depth > 0) depth--;
      continue;
    case T_SEMI:
      if (depth > 0) continue;
      advance(p);
      return;
    default:
      if (!starts_item(p)) continue;
      p->give_up = true;
      return;
    }
  }
}

void skip_to_brace(Parser *p) {
  while (!p->give_up && !at_tok(p, T_RBRACE)) {
    skip_to_statement_end(p);
    if (at_tok(p, T_RPAREN)) advance(p);
  }
  p->panic = p->give_up;
}

/* ---- skimming: where the definitions are ------------------------------------ */

static Item *add_item(ParseFile *f, ItemKind k, size_t at, Token name, const char *doc) {
  Item *it = NEW(Item);
  *it = (Item){.kind = k, .name = name, .at = at, .doc = doc, .file = f};
  if (f->items.n) vec_last(&f->items)->end = at;
  vec_push(&f->items, it);
  return it;
}

static bool is_import(const Token *t) {
  return t->kind == T_IDENT && t->n == 6 && memcmp(t->s, "import", 6) == 0;
}

/* The definition that starts at token t, if one does. */
static void skim_token(ParseFile *f, Lexer *lx, Token t) {
  const char *doc = lex_doc(lx);
  Lexer ahead = *lx;
  Token next = lex_next(&ahead);
  if (t.kind == T_DEF)
    add_item(f, ITEM_Def, t.span.at, next, doc);
  else if (t.kind == T_TYPE && next.kind != T_ASSIGN)
    add_item(f, ITEM_Type, t.span.at, next, doc);
  else if (is_import(&t) && next.kind == T_STRING)
    add_item(f, ITEM_Import, t.span.at, next, NULL);
  else if (t.kind == T_EXTERN && next.kind == T_TYPE) {
    *lx = ahead;
    add_item(f, ITEM_Extern, t.span.at, lex_next(&ahead), doc);
  }
}

/* The lines in front: the version, and whether differentiation made the text. */
static void skim_header(Parser *p, ParseFile *f, Lexer *lx) {
  Lexer ahead = *lx;
  Token t = lex_next(&ahead);
  if (t.kind != T_VERSION && t.kind != T_DERIVED) return;
  if (t.kind == T_VERSION) {
    if (t.n != 5 || memcmp(t.s, "0.0.5", 5) != 0)
      diag_error(p->d, t.span, E0107, str_fmt("\"%.*s\"", (int)(t.n < 40 ? t.n : 40), t.s));
    *lx = ahead;
    t = lex_next(&ahead);
  }
  if (t.kind == T_DERIVED) {
    p->m->derived = p->m->trusting = true;
    *lx = ahead;
  }
  f->first = lx->pos;
  Lexer aloud = lex_start(p->src, f->file, p->d);
  lex_next(&aloud); /* reports junk in front of it      */
}

ParseFile *skim_file(Parser *p, uint32_t file, bool library, bool import) {
  const Source *s = source_get(p->src, file);
  if (s && !lex_check_text(s->text, s->n, file, p->d)) return NULL;
  ParseFile *f = NEW(ParseFile);
  *f = (ParseFile){.file = file, .library = library, .import = import};
  Lexer lx = lex_start(p->src, file, NULL);
  skim_header(p, f, &lx);
  for (Token t = lex_next(&lx); t.kind != T_EOF; t = lex_next(&lx)) {
    if (t.kind == T_METADATA) {
      add_item(f, ITEM_Meta, t.span.at, t, NULL);
      f->meta_at = lx.pos;
      break;
    }
    skim_token(f, &lx, t);
  }
  if (f->items.n) vec_last(&f->items)->end = lx.n;
  vec_push(&p->files, f);
  return f;
}

/* ---- declaring ---------------------------------------------------------------- */

static void start_at(Parser *p, ParseFile *f, size_t at) {
  p->f = f;
  p->lx = lex_start(p->src, f->file, p->d);
  p->lx.pos = at;
  p->panic = p->give_up = false;
  p->failed_at = UINT32_MAX;
  p->depth = 0;
  drop_names(p, (Mark){0});
  p->fn_level = 0;
  p->owner = 0;
  p->owner_name = NULL;
  advance(p);
}

/* The definition of a name: the program's own before the library's. */
static bool claim(Parser *p, Map *m, Item *it, const char *what) {
  Sym name = tok_sym(p, &it->name);
  Item *old = map_get(m, map_ptr(name));
  if (old && old->file->library == it->file->library) {
    diag_error(p->d, it->name.span, E0202, str_fmt("%s%s", what, name));
    diag_note(p->d, old->name.span, "first here");
    return false;
  }
  if (old && it->file->library) {
    it->replaced = true;
    return false;
  }
  if (old) old->replaced = true;
  map_set(m, map_ptr(name), it);
  return true;
}

static void declare_def(Parser *p, Item *it) {
  if (it->name.kind != T_GLOBAL || it->name.n == 0 || !claim(p, &p->def_item, it, "@")) return;
  Global *g = it->global = NEW(Global);
  *g = (Global){.name = tok_sym(p, &it->name),
                .span = it->name.span,
                .doc = it->doc,
                .library = it->file->library || it->file->import};
}

/* Name and parameters of a type; mistakes in them are told by type_body. */
static void declare_type(Parser *p, Item *it) {
  if (it->name.kind != T_IDENT || !claim(p, &p->type_item, it, "type ")) return;
  DataDef *def = it->data = NEW(DataDef);
  *def = (DataDef){.name = tok_sym(p, &it->name),
                   .span = it->name.span,
                   .doc = it->doc,
                   .library = it->file->library || it->file->import,
                   .is_extern = it->kind == ITEM_Extern};
  VEC(TyVar *) vars = {0};
  Lexer lx = lex_start(p->src, it->file->file, NULL);
  lx.pos = it->name.span.at + it->name.span.len;
  Token t = lex_next(&lx);
  if (t.kind == T_LBRACK)
    for (t = lex_next(&lx); t.kind == T_IDENT || t.kind == T_COMMA; t = lex_next(&lx)) {
      if (t.kind == T_COMMA) continue;
      TyVar *v = NEW(TyVar);
      *v = (TyVar){tok_sym(p, &t), t.span};
      vec_push(&vars, v);
    }
  def->n_vars = vars.n;
  def->var = vars.at;
}

static void declare_ctor(Parser *p, Item *it, Ctor *c) {
  Ctor *old = map_get(&p->m->ctor_by_name, map_ptr(c->name));
  Item *old_type = old ? map_get(&p->type_item, map_ptr(old->def->name)) : NULL;
  if (old_type && old_type->data == old->def && old_type->file->library == it->file->library) {
    diag_error(p->d, c->span, E0202, str_fmt("constructor %s", c->name));
    diag_note(p->d, old->span, "first here");
    return;
  }
  if (it->file->library) map_set(&it->file->own_ctor, map_ptr(c->name), c);
  if (!old || !it->file->library) map_set(&p->m->ctor_by_name, map_ptr(c->name), c);
}

typedef VEC(Type *) Types;

/* Name [( [name:] type, ... )]: a field may be named for dotted weight paths. */
static void ctor_fields(Parser *p, Ctor *c) {
  Types at = {0};
  VEC(Sym) names = {0};
  bool named = false;
  Span open = p->tok.span;
  advance(p);
  while (!at_tok(p, T_RPAREN) && !p->panic) {
    Sym name = NULL;
    if (at_tok(p, T_IDENT) && peek(p).kind == T_COLON) {
      name = tok_sym(p, &p->tok);
      named = true;
      advance(p);
      advance(p);
    }
    Type *t = parse_type(p);
    vec_push(&at, t);
    vec_push(&names, name);
    if (!accept(p, T_COMMA)) break;
  }
  expect(p, T_RPAREN, open);
  c->n = at.n;
  c->field = at.at;
  c->field_name = named ? names.at : NULL;
}

static Ctor *parse_ctor(Parser *p, DataDef *def, int tag) {
  Ctor *c = NEW(Ctor);
  *c = (Ctor){.name = tok_sym(p, &p->tok),
              .span = p->tok.span,
              .def = def,
              .tag = tag,
              .doc = lex_doc(&p->lx)};
  if (!at_tok(p, T_IDENT)) return fail_expected(p, "the name of a constructor"), NULL;
  advance(p);
  if (at_tok(p, T_LPAREN)) ctor_fields(p, c);
  return c;
}

static void push_type_vars(Parser *p, const DataDef *def) {
  for (int i = 0; i < def->n_vars; i++) {
    TyName *old = find_tyname(p, def->var[i]->name);
    if (old) complain(p, def->var[i]->span, E0202, def->var[i]->name);
    push_tyname(p, def->var[i]->name, def->var[i]->span, TN_Type)->var = def->var[i];
  }
}

static void type_header(Parser *p, DataDef *def) {
  Span open = p->tok.span;
  push_type_vars(p, def);
  if (!accept(p, T_LBRACK)) return;
  while (at_tok(p, T_IDENT) || at_tok(p, T_COMMA)) advance(p);
  expect(p, T_RBRACK, open);
}

static void after_item(Parser *p, const Item *it);

/* type Name[A, B] { Ctor(types), ... } */
static void type_body(Parser *p, Item *it) {
  VEC(Ctor *) ctors = {0};
  start_at(p, it->file, it->at);
  advance(p);
  if (it->kind == ITEM_Extern) advance(p);
  if (!at_tok(p, T_IDENT)) fail_expected(p, "the name of a type");
  if (p->panic || !it->data) return;
  advance(p);
  p->owner_name = str_fmt("type %s", it->data->name);
  type_header(p, it->data);
  if (it->kind == ITEM_Extern) {
    after_item(p, it);
    return;
  }
  Span open = p->tok.span;
  if (!expect(p, T_LBRACE, (Span){0})) return;
  while (!at_tok(p, T_RBRACE) && !p->panic) {
    Ctor *c = parse_ctor(p, it->data, ctors.n);
    if (!c) break;
    vec_push(&ctors, c);
    declare_ctor(p, it, c);
    if (!accept(p, T_COMMA)) break;
  }
  expect(p, T_RBRACE, open);
  it->data->n_ctors = ctors.n;
  it->data->ctor = ctors.at;
  after_item(p, it);
}

static bool is_type_item(const Item *it) {
  return it->kind == ITEM_Type || it->kind == ITEM_Extern;
}

/* Bodies of types, the library's first: the program's constructors then take
 * precedence. */
static void declare_types(Parser *p, bool library) {
  for (int i = 0; i < p->files.n; i++)
    for (int k = 0; p->files.at[i]->library == library && k < p->files.at[i]->items.n; k++) {
      Item *it = p->files.at[i]->items.at[k];
      if (!is_type_item(it) || it->replaced) continue;
      type_body(p, it);
      if (it->data) map_set(&p->m->type_by_name, map_ptr(it->data->name), it->data);
    }
}

static void load_meta(Parser *p, ParseFile *f) {
  const Source *s = source_get(p->src, f->file);
  if (f->meta_at == 0 || f->meta) return;
  f->meta = meta_load(s->text + f->meta_at, s->n - f->meta_at, f->file, (uint32_t)f->meta_at, p->d);
}

void declare_items(Parser *p) {
  p->declaring = true;
  for (int i = 0; i < p->files.n; i++)
    for (int k = 0; k < p->files.at[i]->items.n; k++) {
      Item *it = p->files.at[i]->items.at[k];
      if (it->kind == ITEM_Def)
        declare_def(p, it);
      else if (is_type_item(it))
        declare_type(p, it);
    }
  declare_types(p, true);
  declare_types(p, false);
  p->declaring = false;
  for (int i = 0; i < p->files.n; i++) {
    ParseFile *f = p->files.at[i];
    load_meta(p, f);
    for (int k = 0; !f->library && k < f->items.n; k++)
      if (is_type_item(f->items.at[k]) && f->items.at[k]->data) want(p, f->items.at[k]);
  }
}

/* ---- what the program reaches ----------------------------------------------- */

static void want_types_in(Parser *p, Type *t) {
  switch (t->kind) {
  case TY_Tuple:
    for (int i = 0; i < t->tuple.n; i++) want_types_in(p, t->tuple.at[i]);
    return;
  case TY_Fn:
    for (int i = 0; i < t->fn.n; i++) want_types_in(p, t->fn.param[i]);
    want_types_in(p, t->fn.ret);
    return;
  case TY_Data:
    find_type(p, t->data.def->name);
    for (int i = 0; i < t->data.n; i++) want_types_in(p, t->data.arg[i]);
    return;
  case TY_Ref: want_types_in(p, t->ref); return;
  case TY_Error:
  case TY_Tensor:
  case TY_Var:
  case TY_Meta: return;
  }
}

void want(Parser *p, Item *it) {
  if (it->wanted || p->declaring) return;
  it->wanted = true;
  if (it->data) vec_push(&p->m->types, it->data);
  vec_push(&p->queue, it);
}

static void want_fields(Parser *p, const DataDef *def) {
  for (int i = 0; i < def->n_ctors; i++)
    for (int k = 0; k < def->ctor[i]->n; k++) want_types_in(p, def->ctor[i]->field[k]);
}

/* ---- definitions ---------------------------------------------------------------- */

/* Nothing but the next definition may follow. */
static void after_item(Parser *p, const Item *it) {
  if (p->panic || p->give_up || (at_tok(p, T_EOF) && it->end >= p->lx.n)) return;
  if (p->tok.span.at == it->end) return;
  accept(p, T_SEMI);
  if (p->tok.span.at != it->end && !at_tok(p, T_EOF))
    fail_expected(p, "a definition (def, type, extern type)");
}

static void parse_def(Parser *p, Item *it) {
  start_at(p, it->file, it->at);
  Span at = p->tok.span;
  advance(p);
  if (!at_tok(p, T_GLOBAL)) {
    fail_expected(p, tok_text(T_GLOBAL));
    return;
  }
  advance(p);
  start_function(p);
  Fn *fn = parse_fn_rest(p, at, str_fmt("@%.*s", (int)it->name.n, it->name.s));
  if (!it->global) return;
  it->global->fn = fn;
  if (fn && p->needs_place && !p->panic && !p->give_up) place_graph(p, fn->body);
  after_item(p, it);
}

static void add_global(Parser *p, Global *g) {
  g->index = p->m->globals.n;
  vec_push(&p->m->globals, g);
  map_set(&p->m->global_by_name, map_ptr(g->name), g);
}

/* Text before the first definition; a text without any is an expression. */
static void parse_head(Parser *p, ParseFile *f) {
  size_t first = f->items.n ? f->items.at[0]->at : SIZE_MAX;
  start_at(p, f, f->first);
  if (at_tok(p, T_EOF) || p->tok.span.at == first) return;
  if (f->import || (f->items.n && f->items.at[0]->kind != ITEM_Meta)) {
    fail_expected(p, "a definition (def, type, extern type, import)");
    return;
  }
  Global *g = NEW(Global);
  *g = (Global){.name = sym(p->cx->syms, "main"), .span = p->tok.span};
  start_function(p);
  g->fn = parse_bare(p);
  if (!p->panic && !p->give_up && !at_tok(p, T_EOF) && !at_tok(p, T_METADATA))
    fail_expected(p, "the end of the expression");
  if (g->fn && p->needs_place && !p->panic && !p->give_up) place_graph(p, g->fn->body);
  add_global(p, g);
}

static void check_import(Parser *p, const Item *it) {
  start_at(p, it->file, it->at);
  advance(p);
  advance(p);
  after_item(p, it);
}

/* What nobody wants by name: imports, and definitions without one. */
static void parse_others(Parser *p, ParseFile *f) {
  for (int i = 0; i < f->items.n; i++) {
    Item *it = f->items.at[i];
    if (it->kind == ITEM_Import) check_import(p, it);
    if (it->kind == ITEM_Def && it->name.kind != T_GLOBAL) parse_def(p, it);
  }
}

void parse_bodies(Parser *p) {
  for (int i = 0; i < p->files.n; i++) {
    ParseFile *f = p->files.at[i];
    p->graph_seen = (Map){0};
    if (f->library) continue;
    parse_head(p, f);
    parse_others(p, f);
  }
  for (int i = 0; i < p->files.n; i++)
    for (int k = 0; !p->files.at[i]->library && k < p->files.at[i]->items.n; k++)
      if (p->files.at[i]->items.at[k]->global) want(p, p->files.at[i]->items.at[k]);
  for (int i = 0; i < p->queue.n; i++) {
    Item *it = p->queue.at[i];
    if (it->data) want_fields(p, it->data);
    if (!it->global) continue;
    add_global(p, it->global);
    parse_def(p, it);
  }
}

Parser parser_start(IrCtx *cx, Sources *src, Diags *d) {
  return (Parser){.cx = cx, .src = src, .d = d, .m = module_new(cx, src)};
}

Module *parser_done(Parser *p, int errors_before) {
  for (int i = 0; i < p->files.n; i++) meta_free(p->files.at[i]->meta);
  return p->d->n_errors > errors_before ? NULL : p->m;
}

Module *parse_module(IrCtx *cx, Sources *src, uint32_t file, Diags *d) {
  Parser p = parser_start(cx, src, d);
  int before = d->n_errors;
  if (!skim_file(&p, file, false, false)) return NULL;
  declare_items(&p);
  parse_bodies(&p);
  return parser_done(&p, before);
}
