/* op_stft.c -- the short-time Fourier transform, as two products:
 *
 *   y[b, f, t] = sum over n of x[b, t * hop + n] * w[n] * exp(-2 pi i f n / n_fft)
 *
 * The window, if shorter than n_fft, stands in its middle.  The angle is reduced by
 * f * n mod n_fft before it is scaled, so it stays exact.                           */
#include <math.h>
#include "stdlib/relkit.h"

static const double PI = 3.14159265358979323846;

typedef struct {
  int64_t n_fft, hop, win;
  bool normalized, onesided;
} Stft;
static Stft read_stft(const OpAttrs *a) {
  Stft s = {attr_int(a, "n_fft"), attr_int(a, "hop_length"), attr_int(a, "win_length"),
            attr_bool(a, "normalized"), attr_bool(a, "onesided")};
  if (s.hop < 1) s.hop = s.n_fft / 4;
  if (s.win < 1) s.win = s.n_fft;
  return s;
}
static bool rel_stft(Rel *r) {
  Stft s = read_stft(rel_attrs(r));
  DimTab *t = rel_dims(r);
  if (!rel_want_rank(r, 0, 2) || !rel_want_rank(r, 1, 1) || !rel_same_dtype(r, 0, 1) ||
      !rel_want_class(r, 0, "f"))
    return false;
  if (s.n_fft < 1 || s.hop < 1 || s.win > s.n_fft)
    return rel_error(r, "n_fft and hop_length must be at least 1, win_length at most n_fft");
  TensorTy x = rel_tensor(r, 0), w = rel_tensor(r, 1);
  if (!rel_same_dim(r, w.dim[0], dim_const(t, s.win), "the extent of window and win_length") ||
      !rel_at_least(r, x.dim[1], dim_const(t, s.n_fft), "the length of data and n_fft"))
    return false;
  Dim frames =
      dim_add(t, dim_div(t, dim_sub(t, x.dim[1], dim_const(t, s.n_fft)), dim_const(t, s.hop)),
              dim_const(t, 1));
  Dim bins = dim_const(t, s.onesided ? s.n_fft / 2 + 1 : s.n_fft);
  return rel_result(r, x.dtype, 4, (Dim[]){x.dim[0], bins, frames, dim_const(t, 2)});
}
static bool stft_part(OpPlan *p, const Stft *s, int part, OpRef y_ref) {
  OpK k = opk_begin(p, part ? "stft_imag" : "stft_real");
  KB *b = k.b;
  KTensor x = opk_in(&k, 0), w = opk_in(&k, 1),
          y = part ? opk_inout(&k, y_ref) : opk_out(&k, y_ref);
  KE par[3], n, taps = kb_int(b, s->win);
  kb_contract_begin(b, 3, y.dim, par, 1, &taps, &n);
  KE off = kb_int(b, (s->n_fft - s->win) / 2), at_n = kb_add(b, n, off);
  KE a = kb_load(b, x.buf, (KE[]){par[0], kb_add(b, kb_mul(b, par[2], kb_int(b, s->hop)), at_n)});
  KE turn = kb_fmod(b, kb_mul(b, par[1], at_n), kb_int(b, s->n_fft));
  KE angle = kb_mul(b, kb_cast(b, turn, DT_f64), kb_float(b, DT_f64, 2 * PI / (double)s->n_fft));
  KE wave = part ? kb_un(b, S_neg, kb_un(b, S_sin, angle)) : kb_un(b, S_cos, angle);
  if (s->normalized) wave = kb_mul(b, wave, kb_float(b, DT_f64, 1 / sqrt((double)s->n_fft)));
  DType acc = relkit_acc(y.dtype);
  KE factor = kb_mul(b, kb_cast(b, kb_load(b, w.buf, &n), acc), kb_cast(b, wave, acc));
  KE sum = kb_contract_acc(b, acc, kb_cast(b, a, acc), factor);
  kb_store(b, y.buf, (KE[]){par[0], par[1], par[2], kb_int(b, part)}, kb_cast(b, sum, y.dtype));
  kb_contract_end(b);
  return opk_end(&k);
}
static bool lower_stft(OpPlan *p) {
  Stft s = read_stft(p->attrs);
  return stft_part(p, &s, 0, plan_result(p, 0)) && stft_part(p, &s, 1, plan_result(p, 0));
}

const OpDef op_stft = {
    .name = "stft",
    .doc = "Short-time Fourier transform: batch, frequency, frame, (real, imaginary).",
    .args = {{"data", "(batch, samples)", false}, {"window", "(win_length)", false}},
    .attrs = {{"n_fft", A_Int, NULL, "points of the transform"},
              {"hop_length", A_Int, "-1", "samples between frames; n_fft / 4 if not given"},
              {"win_length", A_Int, "-1", "samples of the window; n_fft if not given"},
              {"normalized", A_Bool, "False", "divide by sqrt(n_fft)"},
              {"onesided", A_Bool, "True",
               "only the n_fft / 2 + 1 frequencies that are not mirrored"}},
    .flags = OP_PURE,
    .pattern = PAT_Opaque,
    .rel = rel_stft,
    .lower = lower_stft,
    .examples = (const char *const[]){"stft(f32[2,40], f32[16], n_fft=16, hop_length=8)",
                                      "stft(f64[1,?33], f64[10], n_fft=12, hop_length=5, "
                                      "win_length=10, onesided=False, normalized=True)",
                                      NULL}};
