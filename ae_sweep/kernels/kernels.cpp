// What training spends its time on beside convolutions, each in as few passes over memory as it
// takes. Called from Python by pointers (functions.py); nothing here allocates what is returned.
//
// Features are in torch's channels_last layout: M pixels of all images in turn, each with C
// channels, a multiple of TILE. Sums are taken in blocks of pixels whatever the number of threads,
// so that results do not depend on it.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

using Index = std::ptrdiff_t;

// Channels that are computed at once.
constexpr Index TILE = 32;
// Numbers that stay in the first cache, between two passes or as one block of a sum.
constexpr Index BLOCK = 8192;
// Bytes that a loop asks for in advance: some processors do not look ahead far enough.
constexpr Index AHEAD = 2048;
// Elements of a 3×3 kernel.
constexpr Index TAPS = 9;
// Products of a pixel with the taps, filled up.
constexpr Index PRODUCTS = 16;

// A bfloat16 number: the upper half of a float.
struct bf16 {
  std::uint16_t bits;
};

inline float load(float from) { return from; }

inline float load(bf16 from) {
  const std::uint32_t bits = static_cast<std::uint32_t>(from.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline void store(float* to, float value) { *to = value; }

// Rounds to the nearest, ties to even; NaN stays NaN.
inline void store(bf16* to, float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  to->bits = static_cast<std::uint16_t>((value == value ? rounded : bits | 0x400000) >> 16);
}

template <typename T>
inline void look_ahead(const T* at) {
  const char* bytes = reinterpret_cast<const char*>(at) + AHEAD;
  for (Index line = 0; line < static_cast<Index>(TILE * sizeof(T)); line += 64)
    __builtin_prefetch(bytes + line);
}

// M pixels in blocks, with C numbers for each block.
struct Blocks {
  Index pixels, rows, count;

  Blocks(Index pixels, Index channels)
      : pixels(pixels), rows(BLOCK / channels > 0 ? BLOCK / channels : 1),
        count((pixels + rows - 1) / rows) {}

  Index begin(Index block) const { return block * rows; }
  Index end(Index block) const { return begin(block) + rows < pixels ? begin(block) + rows : pixels; }
};

// A number for each of some channels, in registers.
struct Tile {
  float at[TILE];

  Tile() : at{} {}
  explicit Tile(const float* from) { std::memcpy(at, from, sizeof at); }
  void copy_to(float* to) const { std::memcpy(to, at, sizeof at); }
};

struct Normalisation {
  Index channels;
  const float *weight, *bias;
};

template <typename T>
void batch_norm_relu_forward(const T* x, T* y, Index pixels, Normalisation norm, float eps,
                             float momentum, float* running_mean, float* running_variance,
                             float* mean, float* inverse_deviation, int threads) {
  const Index channels = norm.channels;
  const Blocks blocks(pixels, channels);
  std::vector<float> means(blocks.count * channels), squares(blocks.count * channels);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index block = 0; block < blocks.count; ++block) {
    const Index begin = blocks.begin(block), end = blocks.end(block);
    for (Index first = 0; first < channels; first += TILE) {
      // Around the first pixel, so that squares of a large mean do not cancel.
      Tile around, sum, square;
      for (Index c = 0; c < TILE; ++c) around.at[c] = load(x[begin * channels + first + c]);
      for (Index pixel = begin; pixel < end; ++pixel) {
        const T* from = x + pixel * channels + first;
        look_ahead(from);
        for (Index c = 0; c < TILE; ++c) {
          const float difference = load(from[c]) - around.at[c];
          sum.at[c] += difference;
          square.at[c] += difference * difference;
        }
      }
      const float count = static_cast<float>(end - begin);
      for (Index c = 0; c < TILE; ++c) {
        means[block * channels + first + c] = around.at[c] + sum.at[c] / count;
        squares[block * channels + first + c] = square.at[c] - sum.at[c] * sum.at[c] / count;
      }
    }
  }
  std::vector<float> scale(channels), shift(channels);
  for (Index c = 0; c < channels; ++c) {
    double total = 0, square = 0;
    for (Index block = 0; block < blocks.count; ++block)
      total += static_cast<double>(blocks.end(block) - blocks.begin(block)) *
               means[block * channels + c];
    const double mu = total / static_cast<double>(pixels);
    for (Index block = 0; block < blocks.count; ++block) {
      const double count = static_cast<double>(blocks.end(block) - blocks.begin(block));
      const double difference = means[block * channels + c] - mu;
      square += squares[block * channels + c] + count * difference * difference;
    }
    const double variance = square / static_cast<double>(pixels);
    const double unbiased = square / static_cast<double>(pixels - 1);
    mean[c] = static_cast<float>(mu);
    inverse_deviation[c] = static_cast<float>(1 / std::sqrt(variance + eps));
    running_mean[c] += momentum * (static_cast<float>(mu) - running_mean[c]);
    running_variance[c] += momentum * (static_cast<float>(unbiased) - running_variance[c]);
    scale[c] = norm.weight[c] * inverse_deviation[c];
    shift[c] = norm.bias[c] - mean[c] * scale[c];
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index block = 0; block < blocks.count; ++block) {
    for (Index first = 0; first < channels; first += TILE) {
      const Tile factor(&scale[first]), summand(&shift[first]);
      for (Index pixel = blocks.begin(block); pixel < blocks.end(block); ++pixel) {
        const T* from = x + pixel * channels + first;
        T* to = y + pixel * channels + first;
        look_ahead(from);
        for (Index c = 0; c < TILE; ++c) {
          const float value = load(from[c]) * factor.at[c] + summand.at[c];
          store(to + c, value < 0 ? 0 : value);  // NaN stays
        }
      }
    }
  }
}

// The gradient through both: what the ReLU let through is seen again from the input.
template <typename T>
void batch_norm_relu_backward(const T* y_gradient, const T* x, T* x_gradient, Index pixels,
                              Normalisation norm, const float* mean,
                              const float* inverse_deviation, float* weight_gradient,
                              float* bias_gradient, int threads) {
  const Index channels = norm.channels;
  const Blocks blocks(pixels, channels);
  std::vector<float> scale(channels), shift(channels);
  for (Index c = 0; c < channels; ++c) {
    scale[c] = norm.weight[c] * inverse_deviation[c];
    shift[c] = norm.bias[c] - mean[c] * scale[c];
  }
  std::vector<float> sums(blocks.count * channels), products(blocks.count * channels);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index block = 0; block < blocks.count; ++block) {
    for (Index first = 0; first < channels; first += TILE) {
      const Tile factor(&scale[first]), summand(&shift[first]), middle(mean + first);
      Tile sum, product;
      for (Index pixel = blocks.begin(block); pixel < blocks.end(block); ++pixel) {
        const T* from = x + pixel * channels + first;
        const T* gradients = y_gradient + pixel * channels + first;
        look_ahead(from);
        look_ahead(gradients);
        for (Index c = 0; c < TILE; ++c) {
          const float value = load(from[c]);
          const bool stopped = value * factor.at[c] + summand.at[c] <= 0;
          const float gradient = stopped ? 0 : load(gradients[c]);
          sum.at[c] += gradient;
          product.at[c] += gradient * (value - middle.at[c]);
        }
      }
      sum.copy_to(&sums[block * channels + first]);
      product.copy_to(&products[block * channels + first]);
    }
  }
  // d loss / d x = scale·(gradient − mean gradient − x̂·mean of gradient·x̂), Ioffe and Szegedy
  // 2015 (arXiv:1502.03167), as gradient·scale + x·slope + constant.
  std::vector<float> slope(channels), constant(channels);
  for (Index c = 0; c < channels; ++c) {
    double sum = 0, product = 0;
    for (Index block = 0; block < blocks.count; ++block) {
      sum += sums[block * channels + c];
      product += products[block * channels + c];
    }
    const double inverse = inverse_deviation[c], count = static_cast<double>(pixels);
    const double along = product / count * inverse * inverse;
    bias_gradient[c] = static_cast<float>(sum);
    weight_gradient[c] = static_cast<float>(product * inverse);
    slope[c] = static_cast<float>(-scale[c] * along);
    constant[c] = static_cast<float>(scale[c] * (mean[c] * along - sum / count));
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index block = 0; block < blocks.count; ++block) {
    for (Index first = 0; first < channels; first += TILE) {
      const Tile factor(&scale[first]), summand(&shift[first]);
      const Tile along(&slope[first]), rest(&constant[first]);
      for (Index pixel = blocks.begin(block); pixel < blocks.end(block); ++pixel) {
        const T* from = x + pixel * channels + first;
        const T* gradients = y_gradient + pixel * channels + first;
        T* to = x_gradient + pixel * channels + first;
        look_ahead(from);
        look_ahead(gradients);
        for (Index c = 0; c < TILE; ++c) {
          const float value = load(from[c]);
          const bool stopped = value * factor.at[c] + summand.at[c] <= 0;
          const float gradient = stopped ? 0 : load(gradients[c]);
          store(to + c, gradient * factor.at[c] + value * along.at[c] + rest.at[c]);
        }
      }
    }
  }
}

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
#pragma omp parallel num_threads(threads)
  {
    // Of the pixels around an image, too, where they stay zero.
    std::vector<float> products((images.height + 2) * stride * PRODUCTS), pixels(GROUP * channels);
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
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> padded((images.height + 2) * stride);
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

extern "C" {

#define FOR_TYPE(T, NAME)                                                                         \
  void batch_norm_relu_forward_##NAME(                                                            \
      const T* x, T* y, Index pixels, Index channels, const float* weight, const float* bias,     \
      float eps, float momentum, float* running_mean, float* running_variance, float* mean,       \
      float* inverse_deviation, int threads) {                                                    \
    batch_norm_relu_forward(x, y, pixels, {channels, weight, bias}, eps, momentum, running_mean,  \
                            running_variance, mean, inverse_deviation, threads);                  \
  }                                                                                               \
  void batch_norm_relu_backward_##NAME(                                                           \
      const T* y_gradient, const T* x, T* x_gradient, Index pixels, Index channels,               \
      const float* weight, const float* bias, const float* mean, const float* inverse_deviation,  \
      float* weight_gradient, float* bias_gradient, int threads) {                                \
    batch_norm_relu_backward(y_gradient, x, x_gradient, pixels, {channels, weight, bias}, mean,   \
                             inverse_deviation, weight_gradient, bias_gradient, threads);         \
  }                                                                                               \
  void narrow_conv_forward_##NAME(const T* x, const float* taps, float* y, Index count,           \
                                  Index height, Index width, Index channels, int threads) {       \
    narrow_conv_forward(x, taps, y, {count, height, width, channels}, threads);                   \
  }                                                                                               \
  void narrow_conv_backward_##NAME(const float* y_gradient, const T* x, const float* taps,        \
                                   T* x_gradient, float* taps_gradient, Index count,              \
                                   Index height, Index width, Index channels, int threads) {      \
    narrow_conv_backward(y_gradient, x, taps, x_gradient, taps_gradient,                          \
                         {count, height, width, channels}, threads);                              \
  }

FOR_TYPE(float, fp32)
FOR_TYPE(bf16, bf16)

void to_bf16(const float* from, bf16* to, Index count, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index begin = 0; begin < count; begin += BLOCK) {
    const Index end = begin + BLOCK < count ? begin + BLOCK : count;
    for (Index tile = begin; tile < end; tile += TILE) {
      look_ahead(from + tile);
      const Index last = tile + TILE < end ? tile + TILE : end;
      for (Index i = tile; i < last; ++i) store(to + i, load(from[i]));
    }
  }
}

}  // extern "C"
