// What follows a convolution in an encoder, in one pass forward and one backward:
// layer normalisation over channels, activation (PReLU or GELU), statistics over time.
//
// The same mathematics as crossl/nn/fast/kernels.py, which is what runs where no compiler is found
// and what tests compare this with. Rows are (window, time); channels are last and contiguous.
// Pointers that may be null say which parts are wanted. Built by build.py in this folder.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace {

constexpr long kMaxChannels = 1024;

struct Settings {  // mirrored by kernels.py in this folder, field by field
  long windows, time, channels;
  const float *gamma, *beta;  // null: no normalisation
  const float *alpha;         // null: GELU
  float epsilon;
  float *mean, *rstd;  // (windows, time) of the normalisation
  long known;          // mean and rstd are given, not computed
};

inline float load(float x) { return x; }
inline float load(uint16_t x) {  // bfloat16
  uint32_t bits = static_cast<uint32_t>(x) << 16;
  float out;
  std::memcpy(&out, &bits, 4);
  return out;
}
inline void store(float *p, float x) { *p = x; }
inline void store(uint16_t *p, float x) {  // to nearest, ties to even; NaN stays NaN
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  *p = static_cast<uint16_t>(nan ? 0x7fc0u : rounded);
}

inline float exponential(float v) {  // for v <= 0, 1e-7 relative
  v = v < -87.0f ? -87.0f : v;
  float n = std::nearbyint(v * 1.44269504f);
  float r = (v - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f +
            r * (0.00833333333f + r * (0.00138888889f + r * 0.000198412698f))))));
  int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, 4);
  return p * scale;
}

inline float erf_rational(float x) {  // minimax quotient on [-4, 4], 2e-7 absolute
  x = x < -4.0f ? -4.0f : (x > 4.0f ? 4.0f : x);
  float s = x * x;
  float p = -2.72614225801306e-10f;
  p = p * s + 2.77068142495902e-08f;
  p = p * s + -2.10102402082508e-06f;
  p = p * s + -5.69250639462346e-05f;
  p = p * s + -7.34990630326855e-04f;
  p = p * s + -2.95459980854025e-03f;
  p = p * s + -1.60960333262415e-02f;
  float q = -1.45660718464996e-05f;
  q = q * s + -2.13374055278905e-04f;
  q = q * s + -1.68282697438203e-03f;
  q = q * s + -7.37332916720468e-03f;
  q = q * s + -1.42647390514189e-02f;
  return x * p / q;
}

inline float normal_cdf(float x) { return 0.5f * (1.0f + erf_rational(x * 0.70710678f)); }
inline float normal_pdf(float x) { return 0.39894228f * exponential(-0.5f * x * x); }

// Rows are worked on in arrays of their own: nothing there can alias, so loops become vectors.
#define SIMD _Pragma("omp simd")
#define ROW alignas(64) float
#define WIDTH (N ? N : kMaxChannels)

// Mean and reciprocal standard deviation of one row.
template <int N>
inline void row_moments(const float *row, long channels, float epsilon, float &mean, float &rstd) {
  const long C = N ? N : channels;
  float sum = 0.0f, square = 0.0f;
  for (long c = 0; c < C; ++c) sum += row[c];
  mean = sum / C;
  for (long c = 0; c < C; ++c) square += (row[c] - mean) * (row[c] - mean);
  rstd = 1.0f / std::sqrt(square / C + epsilon);
}

// Normalisation and PReLU of a block, or what stands for them where it has none.
template <int N>
struct Parameters {
  ROW gamma[WIDTH], beta[WIDTH], alpha[WIDTH];
  Parameters(const Settings &s, long C) {
    for (long c = 0; c < C; ++c) {
      gamma[c] = s.gamma ? s.gamma[c] : 1.0f;
      beta[c] = s.gamma ? s.beta[c] : 0.0f;
      alpha[c] = s.alpha ? s.alpha[c] : 0.0f;
    }
  }
};

template <int N, class S>
void forward_window(const Settings &s, long b, const S *y, S *out, float *pool_mean,
                    float *pool_variance, float *pool_largest, int32_t *pool_place) {
  const long C = N ? N : s.channels;
  const Parameters<N> p(s, C);
  ROW row[WIDTH], shift[WIDTH], sum[WIDTH], square[WIDTH], largest[WIDTH];
  alignas(64) int32_t place[WIDTH];
  const bool prelu = s.alpha, normed = s.gamma;
  for (long t = 0; t < s.time; ++t, y += C) {
    SIMD for (long c = 0; c < C; ++c) row[c] = load(y[c]);
    if (normed) {
      float mean, rstd;
      if (s.known) {
        mean = s.mean[b * s.time + t], rstd = s.rstd[b * s.time + t];
      } else {
        row_moments<N>(row, C, s.epsilon, mean, rstd);
        s.mean[b * s.time + t] = mean, s.rstd[b * s.time + t] = rstd;
      }
      SIMD for (long c = 0; c < C; ++c) row[c] = (row[c] - mean) * rstd * p.gamma[c] + p.beta[c];
    }
    if (prelu) {
      SIMD for (long c = 0; c < C; ++c) row[c] = row[c] > 0.0f ? row[c] : row[c] * p.alpha[c];
    } else {
      SIMD for (long c = 0; c < C; ++c) row[c] = row[c] * normal_cdf(row[c]);
    }
    if (out) {
      SIMD for (long c = 0; c < C; ++c) store(out + c, row[c]);
      out += C;
    }
    if (!pool_mean) continue;
    if (t == 0) {  // sums of differences from the first row: no cancellation in the variance
      SIMD for (long c = 0; c < C; ++c) {
        shift[c] = largest[c] = row[c];
        sum[c] = square[c] = 0.0f;
        place[c] = 0;
      }
      continue;
    }
    SIMD for (long c = 0; c < C; ++c) {
      float d = row[c] - shift[c];
      sum[c] += d;
      square[c] += d * d;
      bool more = row[c] > largest[c];
      largest[c] = more ? row[c] : largest[c];
      place[c] = more ? static_cast<int32_t>(t) : place[c];
    }
  }
  if (!pool_mean) return;
  for (long c = 0; c < C; ++c) {
    const float m = sum[c] / s.time, v = square[c] / s.time - m * m;
    pool_mean[b * C + c] = shift[c] + m;
    if (pool_variance) pool_variance[b * C + c] = v < 0.0f ? 0.0f : v;
    if (pool_largest) pool_largest[b * C + c] = largest[c], pool_place[b * C + c] = place[c];
  }
}

// Gradients of one window; `sums` gets those of gamma, beta, alpha and the convolution's bias.
template <int N, class S>
void backward_window(const Settings &s, long b, const S *y, const S *d, S *dy, const float *d_mean,
                     const float *d_variance, const float *d_largest, const float *pool_mean,
                     const int32_t *pool_place, float *sums) {
  const long C = N ? N : s.channels;
  const Parameters<N> p(s, C);
  ROW hat[WIDTH], g[WIDTH], level[WIDTH], slope[WIDTH], centre[WIDTH], peak[WIDTH];
  ROW d_gamma[WIDTH], d_beta[WIDTH], d_alpha[WIDTH], d_bias[WIDTH];
  alignas(64) int32_t place[WIDTH];
  for (long c = 0; c < C; ++c) {
    // what was read out over time: level + slope * (activation - centre), and a peak at one sample
    slope[c] = d_variance ? d_variance[b * C + c] * 2.0f / s.time : 0.0f;
    level[c] = d_mean ? d_mean[b * C + c] / s.time : 0.0f;
    centre[c] = d_variance ? pool_mean[b * C + c] : 0.0f;
    peak[c] = d_largest ? d_largest[b * C + c] : 0.0f;
    place[c] = d_largest ? pool_place[b * C + c] : -1;
    d_gamma[c] = d_beta[c] = d_alpha[c] = d_bias[c] = 0.0f;
  }
  const bool prelu = s.alpha, normed = s.gamma, peaks = d_largest, read = d;
  for (long t = 0; t < s.time; ++t, y += C, dy += C) {
    float mean = 0.0f, rstd = 1.0f;
    if (normed) mean = s.mean[b * s.time + t], rstd = s.rstd[b * s.time + t];
    SIMD for (long c = 0; c < C; ++c) hat[c] = (load(y[c]) - mean) * rstd;
    if (read) {
      SIMD for (long c = 0; c < C; ++c) g[c] = load(d[c]) + level[c];
      d += C;
    } else {
      SIMD for (long c = 0; c < C; ++c) g[c] = level[c];
    }
    if (peaks) {
      const int32_t now = static_cast<int32_t>(t);
      SIMD for (long c = 0; c < C; ++c) g[c] += place[c] == now ? peak[c] : 0.0f;
    }
    if (prelu) {
      SIMD for (long c = 0; c < C; ++c) {
        const float n = hat[c] * p.gamma[c] + p.beta[c];
        const float negative = n > 0.0f ? 0.0f : n;
        const float factor = n > 0.0f ? 1.0f : p.alpha[c];
        const float incoming = g[c] + slope[c] * (n * factor - centre[c]);
        d_alpha[c] += negative * incoming;
        g[c] = factor * incoming;
      }
    } else {
      SIMD for (long c = 0; c < C; ++c) {
        const float n = hat[c] * p.gamma[c] + p.beta[c];
        const float cdf = normal_cdf(n);
        g[c] = (g[c] + slope[c] * (n * cdf - centre[c])) * (cdf + n * normal_pdf(n));
      }
    }
    if (normed) {
      float first = 0.0f, second = 0.0f;
      SIMD for (long c = 0; c < C; ++c) {
        d_gamma[c] += g[c] * hat[c];
        d_beta[c] += g[c];
        g[c] *= p.gamma[c];
      }
      for (long c = 0; c < C; ++c) first += g[c], second += g[c] * hat[c];
      first /= C, second /= C;
      SIMD for (long c = 0; c < C; ++c) g[c] = rstd * (g[c] - first - hat[c] * second);
    }
    SIMD for (long c = 0; c < C; ++c) {
      d_bias[c] += g[c];
      store(dy + c, g[c]);
    }
  }
  for (long c = 0; c < C; ++c) {
    sums[c] = d_gamma[c], sums[C + c] = d_beta[c];
    sums[2 * C + c] = d_alpha[c], sums[3 * C + c] = d_bias[c];
  }
}

template <int N, class S>
void forward_all(const Settings &s, const S *y, S *out, long out_stride, float *pool_mean,
                 float *pool_variance, float *pool_largest, int32_t *pool_place, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (long b = 0; b < s.windows; ++b)
    forward_window<N, S>(s, b, y + b * s.time * s.channels, out ? out + b * out_stride : nullptr,
                         pool_mean, pool_variance, pool_largest, pool_place);
}

template <int N, class S>
void backward_all(const Settings &s, const S *y, const S *d, long d_stride, S *dy, long dy_stride,
                  const float *d_mean, const float *d_variance, const float *d_largest,
                  const float *pool_mean, const int32_t *pool_place, float *sums, int threads) {
  const long C = s.channels;
  // one sum per window, added in order: the result does not depend on the number of threads
  std::vector<float> partial(static_cast<size_t>(s.windows) * 4 * C, 0.0f);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (long b = 0; b < s.windows; ++b)
    backward_window<N, S>(s, b, y + b * s.time * C, d ? d + b * d_stride : nullptr,
                          dy + b * dy_stride, d_mean, d_variance, d_largest, pool_mean, pool_place,
                          partial.data() + b * 4 * C);
  for (long b = 0; b < s.windows; ++b)
    for (long c = 0; c < 4 * C; ++c) sums[c] += partial[b * 4 * C + c];
}

template <class S, class F>
void by_channels(long channels, F f) {
  switch (channels) {
    case 24: f(std::integral_constant<int, 24>{}); break;
    case 48: f(std::integral_constant<int, 48>{}); break;
    case 96: f(std::integral_constant<int, 96>{}); break;
    default: f(std::integral_constant<int, 0>{});
  }
}

template <class S>
void forward_any(const Settings &s, const void *y, void *out, long out_stride, float *pool_mean,
                 float *pool_variance, float *pool_largest, int32_t *pool_place, int threads) {
  by_channels<S>(s.channels, [&](auto n) {
    forward_all<decltype(n)::value, S>(s, static_cast<const S *>(y), static_cast<S *>(out),
                                       out_stride, pool_mean, pool_variance, pool_largest,
                                       pool_place, threads);
  });
}

template <class S>
void backward_any(const Settings &s, const void *y, const void *d, long d_stride, void *dy,
                  long dy_stride, const float *d_mean, const float *d_variance,
                  const float *d_largest, const float *pool_mean, const int32_t *pool_place,
                  float *sums, int threads) {
  by_channels<S>(s.channels, [&](auto n) {
    backward_all<decltype(n)::value, S>(s, static_cast<const S *>(y), static_cast<const S *>(d),
                                        d_stride, static_cast<S *>(dy), dy_stride, d_mean,
                                        d_variance, d_largest, pool_mean, pool_place, sums,
                                        threads);
  });
}

}  // namespace

extern "C" {

long crossl_max_channels() { return kMaxChannels; }

void crossl_blocks_forward(const Settings *s, long bfloat16, const void *y, void *out,
                           long out_stride, float *pool_mean, float *pool_variance,
                           float *pool_largest, int32_t *pool_place, int threads) {
  if (bfloat16)
    forward_any<uint16_t>(*s, y, out, out_stride, pool_mean, pool_variance, pool_largest,
                          pool_place, threads);
  else
    forward_any<float>(*s, y, out, out_stride, pool_mean, pool_variance, pool_largest, pool_place,
                       threads);
}

void crossl_blocks_backward(const Settings *s, long bfloat16, const void *y, const void *d,
                            long d_stride, void *dy, long dy_stride, const float *d_mean,
                            const float *d_variance, const float *d_largest,
                            const float *pool_mean, const int32_t *pool_place, float *sums,
                            int threads) {
  if (bfloat16)
    backward_any<uint16_t>(*s, y, d, d_stride, dy, dy_stride, d_mean, d_variance, d_largest,
                           pool_mean, pool_place, sums, threads);
  else
    backward_any<float>(*s, y, d, d_stride, dy, dy_stride, d_mean, d_variance, d_largest,
                        pool_mean, pool_place, sums, threads);
}

}  // extern "C"
