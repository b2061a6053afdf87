// The functions that Python calls, by pointers (functions.py). What is returned is allocated there.
//
// Each returns 0, or NO_MEMORY. Memory is allocated where one thread runs: what a thread of several
// throws ends the process.

#include <new>

#include "batch_norm_relu.h"
#include "narrow_conv.h"
#include "numbers.h"

namespace {

constexpr int NO_MEMORY = 1;

template <typename Work>
int guarded(Work work) {
  try {
    work();
    return 0;
  } catch (const std::bad_alloc&) {
    return NO_MEMORY;
  }
}

}  // namespace

extern "C" {

#define FOR_TYPE(T, NAME)                                                                         \
  int batch_norm_relu_forward_##NAME(                                                             \
      const T* x, T* y, Index pixels, Index channels, const float* weight, const float* bias,     \
      float eps, float momentum, float* running_mean, float* running_variance, float* mean,       \
      float* inverse_deviation, int threads) {                                                    \
    return guarded([=] {                                                                          \
      batch_norm_relu_forward(x, y, pixels, {channels, weight, bias, mean, inverse_deviation},    \
                              eps, momentum, running_mean, running_variance, threads);            \
    });                                                                                           \
  }                                                                                               \
  int batch_norm_relu_backward_##NAME(                                                            \
      const T* y_gradient, const T* x, T* x_gradient, Index pixels, Index channels,               \
      const float* weight, const float* bias, float* mean, float* inverse_deviation,              \
      float* weight_gradient, float* bias_gradient, int threads) {                                \
    return guarded([=] {                                                                          \
      batch_norm_relu_backward(y_gradient, x, x_gradient, pixels,                                 \
                               {channels, weight, bias, mean, inverse_deviation},                 \
                               weight_gradient, bias_gradient, threads);                          \
    });                                                                                           \
  }                                                                                               \
  int narrow_conv_forward_##NAME(const T* x, const float* taps, float* y, Index count,            \
                                 Index height, Index width, Index channels, int threads) {        \
    return guarded(                                                                               \
        [=] { narrow_conv_forward(x, taps, y, {count, height, width, channels}, threads); });     \
  }                                                                                               \
  int narrow_conv_backward_##NAME(const float* y_gradient, const T* x, const float* taps,         \
                                  T* x_gradient, float* taps_gradient, Index count, Index height, \
                                  Index width, Index channels, int threads) {                     \
    return guarded([=] {                                                                          \
      narrow_conv_backward(y_gradient, x, taps, x_gradient, taps_gradient,                        \
                           {count, height, width, channels}, threads);                            \
    });                                                                                           \
  }

FOR_TYPE(float, fp32)
FOR_TYPE(bf16, bf16)

int to_bf16(const float* from, bf16* to, Index count, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index begin = 0; begin < count; begin += BLOCK) {
    const Index end = begin + BLOCK < count ? begin + BLOCK : count;
    for (Index tile = begin; tile < end; tile += TILE) {
      look_ahead(from + tile);
      const Index last = tile + TILE < end ? tile + TILE : end;
      for (Index i = tile; i < last; ++i) store(to + i, load(from[i]));
    }
  }
  return 0;
}

}  // extern "C"
