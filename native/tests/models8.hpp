// Random ops, on maps of floats or of codes as they come.
#pragma once

#include "testing.hpp"

namespace reconv::testing {

ActivationSpec some_activation(Random& random);
// Into `out`, from a map with zeros or zero points around it where `padded`.
void add_conv(Random& random, Model& model, int x, int out, bool padded);
// An op that reads or makes codes; false: there is none that would do.
bool add_op8(Random& random, Model& model, int out);

// A scale for a map of codes, by its zero point.
Coding coding_of(const Plan& plan, int map);
int new_map(Random& random, Plan& plan, bool codes, int height, int width, int depth);
// The same map in codes, or in floats, through an op where it is not.
int as_codes(Random& random, Plan& plan, int map);
int as_floats(Plan& plan, int map);
// A global pool of the map.
int pooled(Random& random, Plan& plan, int map);
void any_unary(Random& random, Plan& plan, int x, int out);
// params: without a residual of the other kind
void any_conv(Random& random, Plan& plan, int x, int out, int kernel_y, int kernel_x, const ConvParams& params, bool cut);

}  // namespace reconv::testing
