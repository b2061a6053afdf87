// BatchNorm with ReLU, forward and backward, in two passes over memory each.
//
// Sums are taken in blocks of pixels whatever the number of threads, so that results do not depend
// on it.

#pragma once

#include <cmath>
#include <vector>

#include "numbers.h"

namespace {

// BatchNorm over one batch: y = x·scale + shift in each channel.
struct Normalisation {
  Index channels;
  const float *weight, *bias;
  float *mean, *inverse_deviation;
  std::vector<float> scale, shift;

  Normalisation(Index channels, const float* weight, const float* bias, float* mean,
                float* inverse_deviation)
      : channels(channels), weight(weight), bias(bias), mean(mean),
        inverse_deviation(inverse_deviation), scale(channels), shift(channels) {}

  // To be called once there are the mean and the inverse deviation.
  void prepare() {
    for (Index c = 0; c < channels; ++c) {
      scale[c] = weight[c] * inverse_deviation[c];
      shift[c] = bias[c] - mean[c] * scale[c];
    }
  }
};

// Two sums for each channel of each block.
struct BlockSums {
  std::vector<float> first, second;

  BlockSums(const Blocks& blocks, Index channels)
      : first(blocks.count * channels), second(blocks.count * channels) {}
};

// The mean of each block, and the sum of squares around it.
template <typename T>
BlockSums moments(const T* x, const Blocks& blocks, Index channels, int threads) {
  BlockSums found(blocks, channels);
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
        found.first[block * channels + first + c] = around.at[c] + sum.at[c] / count;
        found.second[block * channels + first + c] =
            square.at[c] - sum.at[c] * sum.at[c] / count;
      }
    }
  }
  return found;
}

struct Moments {
  double mean, squares;

  bool finite() const { return std::isfinite(mean) && std::isfinite(squares); }
};

// Joins the blocks' means and sums of squares (Chan, Golub and LeVeque 1983).
Moments join(const BlockSums& sums, const Blocks& blocks, Index channels, Index channel) {
  Moments all = {0, 0};
  for (Index block = 0; block < blocks.count; ++block)
    all.mean += static_cast<double>(blocks.size(block)) * sums.first[block * channels + channel];
  all.mean /= static_cast<double>(blocks.pixels);
  for (Index block = 0; block < blocks.count; ++block) {
    const double difference = sums.first[block * channels + channel] - all.mean;
    all.squares += sums.second[block * channels + channel] +
                   static_cast<double>(blocks.size(block)) * difference * difference;
  }
  return all;
}

// The same where squares are beyond a float; slow.
template <typename T>
Moments moments_in_double(const T* x, Index pixels, Index channels, Index channel) {
  Moments all = {0, 0};
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    all.mean += static_cast<double>(load(x[pixel * channels + channel]));
    if (!std::isfinite(all.mean)) return {all.mean, NAN};  // as a feature is not
  }
  all.mean /= static_cast<double>(pixels);
  for (Index pixel = 0; pixel < pixels; ++pixel) {
    const double difference = load(x[pixel * channels + channel]) - all.mean;
    all.squares += difference * difference;
  }
  return all;
}

template <typename T>
void normalise(const T* x, T* y, const Blocks& blocks, const Normalisation& norm, int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index block = 0; block < blocks.count; ++block) {
    for (Index first = 0; first < norm.channels; first += TILE) {
      const Tile scale(&norm.scale[first]), shift(&norm.shift[first]);
      for (Index pixel = blocks.begin(block); pixel < blocks.end(block); ++pixel) {
        const T* from = x + pixel * norm.channels + first;
        T* to = y + pixel * norm.channels + first;
        look_ahead(from);
        for (Index c = 0; c < TILE; ++c) {
          const float value = load(from[c]) * scale.at[c] + shift.at[c];
          store(to + c, value < 0 ? 0 : value);  // NaN stays
        }
      }
    }
  }
}

template <typename T>
void batch_norm_relu_forward(const T* x, T* y, Index pixels, Normalisation norm, float eps,
                             float momentum, float* running_mean, float* running_variance,
                             int threads) {
  const Blocks blocks(pixels, norm.channels);
  const BlockSums sums = moments(x, blocks, norm.channels, threads);
  for (Index c = 0; c < norm.channels; ++c) {
    Moments all = join(sums, blocks, norm.channels, c);
    if (!all.finite()) all = moments_in_double(x, pixels, norm.channels, c);
    const double variance = all.squares / static_cast<double>(pixels);
    const double unbiased = all.squares / static_cast<double>(pixels - 1);
    norm.mean[c] = static_cast<float>(all.mean);
    norm.inverse_deviation[c] = static_cast<float>(1 / std::sqrt(variance + eps));
    // As torch does: what is infinite once stays infinite, and does not become NaN.
    running_mean[c] = (1 - momentum) * running_mean[c] + momentum * norm.mean[c];
    running_variance[c] =
        (1 - momentum) * running_variance[c] + momentum * static_cast<float>(unbiased);
  }
  norm.prepare();
  normalise(x, y, blocks, norm, threads);
}

// What the ReLU let through of a gradient is seen again from the input.
template <typename T>
inline float passed(float value, T gradient, float scale, float shift) {
  return value * scale + shift <= 0 ? 0 : load(gradient);
}

// Sums of the gradient behind the ReLU, and of its product with the input's distance to the mean.
template <typename T>
BlockSums gradient_sums(const T* y_gradient, const T* x, const Blocks& blocks,
                        const Normalisation& norm, int threads) {
  BlockSums found(blocks, norm.channels);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index block = 0; block < blocks.count; ++block) {
    for (Index first = 0; first < norm.channels; first += TILE) {
      const Tile scale(&norm.scale[first]), shift(&norm.shift[first]), mean(norm.mean + first);
      Tile sum, product;
      for (Index pixel = blocks.begin(block); pixel < blocks.end(block); ++pixel) {
        const T* from = x + pixel * norm.channels + first;
        const T* gradients = y_gradient + pixel * norm.channels + first;
        look_ahead(from);
        look_ahead(gradients);
        for (Index c = 0; c < TILE; ++c) {
          const float value = load(from[c]);
          const float gradient = passed(value, gradients[c], scale.at[c], shift.at[c]);
          sum.at[c] += gradient;
          product.at[c] += gradient * (value - mean.at[c]);
        }
      }
      sum.copy_to(&found.first[block * norm.channels + first]);
      product.copy_to(&found.second[block * norm.channels + first]);
    }
  }
  return found;
}

// May overwrite the gradient that it reads.
template <typename T>
void batch_norm_relu_backward(const T* y_gradient, const T* x, T* x_gradient, Index pixels,
                              Normalisation norm, float* weight_gradient, float* bias_gradient,
                              int threads) {
  const Index channels = norm.channels;
  const Blocks blocks(pixels, channels);
  norm.prepare();
  const BlockSums sums = gradient_sums(y_gradient, x, blocks, norm, threads);
  // d loss / d x = scale·(gradient − mean gradient − x̂·mean of gradient·x̂), Ioffe and Szegedy
  // 2015 (arXiv:1502.03167), as gradient·scale + x·slope + constant. Where features are beyond 1e17
  // slopes are below the smallest float: the gradient lacks that term.
  std::vector<float> slopes(channels), constants(channels);
  for (Index c = 0; c < channels; ++c) {
    double sum = 0, product = 0;
    for (Index block = 0; block < blocks.count; ++block) {
      sum += sums.first[block * channels + c];
      product += sums.second[block * channels + c];
    }
    const double inverse = norm.inverse_deviation[c], count = static_cast<double>(pixels);
    const double along = product / count * inverse * inverse;
    bias_gradient[c] = static_cast<float>(sum);
    weight_gradient[c] = static_cast<float>(product * inverse);
    slopes[c] = static_cast<float>(-norm.scale[c] * along);
    constants[c] = static_cast<float>(norm.scale[c] * (norm.mean[c] * along - sum / count));
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (Index block = 0; block < blocks.count; ++block) {
    for (Index first = 0; first < channels; first += TILE) {
      const Tile scale(&norm.scale[first]), shift(&norm.shift[first]);
      const Tile slope(&slopes[first]), constant(&constants[first]);
      for (Index pixel = blocks.begin(block); pixel < blocks.end(block); ++pixel) {
        const T* from = x + pixel * channels + first;
        const T* gradients = y_gradient + pixel * channels + first;
        T* to = x_gradient + pixel * channels + first;
        look_ahead(from);
        look_ahead(gradients);
        for (Index c = 0; c < TILE; ++c) {
          const float value = load(from[c]);
          const float gradient = passed(value, gradients[c], scale.at[c], shift.at[c]);
          store(to + c, gradient * scale.at[c] + value * slope.at[c] + constant.at[c]);
        }
      }
    }
  }
}

}  // namespace
