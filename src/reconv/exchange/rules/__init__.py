"""The rules, in the order in which they are tried. A rule is one file and one line here.

Rules that put sums or scales together may give 0 where there was -0, or the other way round; `do_nothing` does not.
"""

from __future__ import annotations

from reconv.exchange.rule import Rule
from reconv.exchange.rules import (
    activation_before_upsample,
    affine_into_layer_after,
    affine_into_layer_before,
    affine_twice,
    cancelling_pairs,
    conv1x1_before_pool,
    conv1x1_before_upsample,
    conv_as_transposed,
    conv_for_slices,
    conv_of_concat,
    conv_per_part,
    do_nothing,
    downsample_before_conv1x1,
    equal_constants,
    equal_nodes,
    flat_concat,
    low_rank_conv,
    max_pool_before_activation,
    merge_convolutions,
    merge_products,
    merged_reshapes,
    merged_transposes,
    norm_around_relu,
    pad_into_conv,
    pad_into_pool,
    pool_before_affine,
    pool_before_conv1x1,
    scale_down_through_relu,
    scale_past_shift,
    scale_up_through_relu,
    separable_conv,
    separable_depthwise,
    separate_convs,
    shrunk_kernel,
    shrunk_kernel_and_input,
    split_then_concat,
    subpixel_as_transposed,
    subsample_before_conv1x1,
    transposed_as_conv,
    transposed_as_subpixel,
    transposed_for_upsample,
    wider_conv,
)

__all__ = ["RULES"]

RULES: tuple[Rule, ...] = (
    # batch norm: folds, which are never more work
    affine_into_layer_before.RULE,
    affine_twice.RULE,
    affine_into_layer_after.RULE,
    scale_up_through_relu.RULE,
    scale_down_through_relu.RULE,
    scale_past_shift.RULE,
    # batch norm and pooling: swaps
    pool_before_affine.RULE,
    norm_around_relu.RULE,
    max_pool_before_activation.RULE,
    pool_before_conv1x1.RULE,
    conv1x1_before_pool.RULE,
    # layers: never more work
    do_nothing.RULE,
    flat_concat.RULE,
    split_then_concat.RULE,
    merge_convolutions.RULE,
    merge_products.RULE,
    # layers: swaps
    conv1x1_before_upsample.RULE,
    downsample_before_conv1x1.RULE,
    activation_before_upsample.RULE,
    transposed_for_upsample.RULE,
    conv_for_slices.RULE,
    subsample_before_conv1x1.RULE,
    conv_per_part.RULE,
    conv_of_concat.RULE,
    wider_conv.RULE,
    separate_convs.RULE,
    low_rank_conv.RULE,
    # layers: clean-up, which is never more work
    equal_constants.RULE,
    equal_nodes.RULE,
    cancelling_pairs.RULE,
    merged_reshapes.RULE,
    merged_transposes.RULE,
    pad_into_conv.RULE,
    pad_into_pool.RULE,
    shrunk_kernel.RULE,
    # kernels
    shrunk_kernel_and_input.RULE,
    separable_depthwise.RULE,
    separable_conv.RULE,
    transposed_as_conv.RULE,
    conv_as_transposed.RULE,
    transposed_as_subpixel.RULE,
    subpixel_as_transposed.RULE,
)
