// A 3×3 convolution to one channel, forward and backward, in one pass over memory each.

#pragma once

#include <vector>

#include "numbers.h"

namespace {

// Elements of a 3×3 kernel.
constexpr Index TAPS = 9;
// Products of a pixel with the taps, filled up.
constexpr Index PRODUCTS = 16;

// As many floats as a processor has in a register, of which it has 32 or 16.
#ifdef __AVX512F__
constexpr Index LANES = 16;
#else
constexpr Index LANES = 8;
#endif
using Vector = float __attribute__((vector_size(LANES * 4)));
using Bits = std::uint32_t __attribute__((vector_size(LANES * 4)));
using Halves = std::uint16_t __attribute__((vector_size(LANES * 2)));

inline Vector load_vector(const float* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline Vector load_vector(const bf16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const Bits bits = __builtin_convertvector(halves, Bits) << 16;
  Vector value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void store_vector(float* to, Vector value) { std::memcpy(to, &value, sizeof value); }

inline void store_vector(bf16* to, Vector value) {
  Bits bits;
  std::memcpy(&bits, &value, sizeof bits);
  const Bits rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const Bits kept = value == value ? rounded : bits | 0x400000;
  const Halves halves = __builtin_convertvector(kept >> 16, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

struct Images {
  Index count, height, width, channels;

  Index area() const { return height * width; }
};

// A 3×3 convolution with padding 1 to one channel, in float: all products of a row of pixels with
// the taps, and then each output of the row above as the sum of nine of them. `taps` is C×PRODUCTS,
// zero beyond TAPS.
template <typename T>
void narrow_conv_forward(const T* x, const float* taps, float* y, Images images, int threads) {
  constexpr Index VECTORS = PRODUCTS / LANES, GROUP = 4;
  const Index channels = images.channels, stride = images.width + 2;
  // Of the pixels around an image, too, where they stay zero.
  PerThread of_products((images.height + 2) * stride * PRODUCTS, threads);
  PerThread of_pixels(GROUP * channels, threads);
#pragma omp parallel num_threads(threads)
  {
    float *const products = of_products.own(), *const pixels = of_pixels.own();
#pragma omp for schedule(static)
    for (Index image = 0; image < images.count; ++image) {
      for (Index row = 0; row <= images.height; ++row) {
        const Index begin = row < images.height ? 0 : images.width;
        for (Index column = begin; column < images.width; column += GROUP) {
          const Index left = images.width - column, size = left < GROUP ? left : GROUP;
          const T* from =
              x + (image * images.area() + row * images.width + column) * channels;
          for (Index i = 0; i < size * channels; i += TILE) {
            look_ahead(from + i);
            for (Index c = 0; c < TILE; c += LANES)
              store_vector(&pixels[i + c], load_vector(from + i + c));
          }
          Vector sum[GROUP][VECTORS] = {};
          for (Index c = 0; c < channels; ++c) {
            for (Index i = 0; i < VECTORS; ++i) {
              const Vector tap = load_vector(taps + c * PRODUCTS + i * LANES);
              for (Index pixel = 0; pixel < GROUP; ++pixel)
                sum[pixel][i] += tap * pixels[pixel * channels + c];
            }
          }
          std::memcpy(&products[((row + 1) * stride + column + 1) * PRODUCTS], sum,
                      size * PRODUCTS * sizeof(float));
        }
        if (row == 0) continue;
        float* to = y + image * images.area() + (row - 1) * images.width;
        for (Index column = 0; column < images.width; ++column) {
          const float* around = &products[((row - 1) * stride + column) * PRODUCTS];
          float sum = 0;
          for (Index tap = 0; tap < TAPS; ++tap)
            sum += around[(tap / 3 * stride + tap % 3) * PRODUCTS + tap];
          to[column] = sum;
        }
      }
    }
  }
}

// `taps` is TAPS×C, as is its gradient.
template <typename T>
void narrow_conv_backward(const float* y_gradient, const T* x, const float* taps, T* x_gradient,
                          float* taps_gradient, Images images, int threads) {
  // So many that all sums are in registers, and do not wait for each other.
  constexpr Index VECTORS = LANES == 16 ? 2 : 1;
  const Index channels = images.channels, area = images.area(), stride = images.width + 2;
  std::vector<float> sums(images.count * TAPS * channels);
  PerThread of_padded((images.height + 2) * stride, threads);
#pragma omp parallel num_threads(threads)
  {
    float* const padded = of_padded.own();
#pragma omp for schedule(static)
    for (Index image = 0; image < images.count; ++image) {
      for (Index row = 0; row < images.height; ++row)
        std::memcpy(&padded[(row + 1) * stride + 1],
                    y_gradient + (image * images.height + row) * images.width,
                    images.width * sizeof(float));
      for (Index first = 0; first < channels; first += VECTORS * LANES) {
        Vector sum[TAPS][VECTORS] = {};
        for (Index row = 0; row < images.height; ++row) {
          for (Index column = 0; column < images.width; ++column) {
            const Index at = (image * area + row * images.width + column) * channels + first;
            Vector value[VECTORS], gradient[VECTORS] = {};
            __builtin_prefetch(reinterpret_cast<const char*>(x + at) + AHEAD);
            for (Index i = 0; i < VECTORS; ++i) value[i] = load_vector(x + at + i * LANES);
            for (Index tap = 0; tap < TAPS; ++tap) {
              // A pixel gave through a tap to the one as far up and left as the tap is down and
              // right of the middle.
              const float given = padded[(row + 2 - tap / 3) * stride + column + 2 - tap % 3];
              for (Index i = 0; i < VECTORS; ++i) {
                gradient[i] += load_vector(taps + tap * channels + first + i * LANES) * given;
                sum[tap][i] += value[i] * given;
              }
            }
            for (Index i = 0; i < VECTORS; ++i)
              store_vector(x_gradient + at + i * LANES, gradient[i]);
          }
        }
        for (Index tap = 0; tap < TAPS; ++tap)
          std::memcpy(&sums[(image * TAPS + tap) * channels + first], sum[tap], sizeof sum[tap]);
      }
    }
  }
  for (Index i = 0; i < TAPS * channels; ++i) {
    double total = 0;
    for (Index image = 0; image < images.count; ++image)
      total += sums[image * TAPS * channels + i];
    taps_gradient[i] = static_cast<float>(total);
  }
}

}  // namespace
