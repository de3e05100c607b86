// What the two files that know Python share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>

#include "plan.hpp"

namespace reconv::python {

namespace nb = nanobind;

template <class T>
using Array = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;
using Floats = Array<float>;
using Ints = Array<int32_t>;
using Picture = nb::ndarray<const uint8_t, nb::ndim<3>, nb::device::cpu>;  // with any strides
using Pair = std::pair<int, int>;

struct ParsedActivation {
    ActivationSpec spec;
    std::vector<float> slopes;
};

ParsedActivation parse_for(nb::tuple t, int channels);
Binary binary_kind(const std::string& name);
PoolParams pool_params(Pair kernel, Pair strides, Pair pads, Pair dilations);
void set_window(ConvParams& params, Pair strides, Pair pads, Pair dilations, int groups);

void bind_codes(nb::class_<Plan>& plan);

}  // namespace reconv::python
