"""Operations of torch by what they do with their operands, at the aten level."""

from __future__ import annotations

#: Results that hold elements of their operand, moved or copied, and nothing else.
VIEWS = frozenset(
    "t transpose permute view _unsafe_view expand reshape _reshape_alias unsqueeze squeeze alias detach _to_copy clone "
    "slice select split split_with_sizes unsafe_split unsafe_split_with_sizes unsafe_chunk unbind as_strided lift "
    "lift_fresh lift_fresh_copy contiguous _conj view_as view_as_real view_as_complex flatten unfold diagonal narrow "
    "_neg_view movedim swapaxes flip roll repeat view_copy expand_copy permute_copy slice_copy select_copy "
    "split_copy unbind_copy chunk detach_ squeeze_ unsqueeze_ transpose_ t_ resolve_conj resolve_neg real imag "
    "im2col col2im pixel_shuffle pixel_unshuffle unfold_copy".split()
)
#: Regions cut out of operand 0: no gradient comes back to where they lie.
CROPS = frozenset("roi_align roi_pool ps_roi_align ps_roi_pool nms".split())
#: Results that take no more than a shape of their operand.
SHAPED = frozenset(
    "empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty new_zeros new_ones new_full "
    "new_empty_strided new_tensor".split()
)
#: (operand that holds the data, operand that holds the weight) of every product, where it is a map's.
PRODUCTS: dict[str, tuple[int, int]] = {
    "mm": (0, 1),
    "bmm": (0, 1),
    "mv": (0, 1),
    "dot": (0, 1),
    "vdot": (0, 1),
    "matmul": (0, 1),
    "linear": (0, 1),
    "addmm": (1, 2),
    "addmm_": (1, 2),
    "baddbmm": (1, 2),
    "baddbmm_": (1, 2),
    "addbmm": (1, 2),
    "addmv": (1, 2),
    "_addmm_activation": (1, 2),
    "_grouped_mm": (0, 1),
    "_scaled_mm": (0, 1),
    "_scaled_grouped_mm": (0, 1),
    "_int_mm": (0, 1),
    "mkldnn_linear": (0, 1),
    "_weight_int8pack_mm": (0, 1),
    "convolution": (0, 1),
    "_convolution": (0, 1),
    "convolution_overrideable": (0, 1),
    "mkldnn_convolution": (0, 1),
    "cudnn_convolution": (0, 1),
    "_trilinear": (0, 1),
}
CONVOLUTIONS = frozenset(
    "convolution _convolution convolution_overrideable mkldnn_convolution cudnn_convolution".split()
)
#: Operands of products that are added to the result.
ADDED: dict[str, int] = {
    "addmm": 0, "addmm_": 0, "baddbmm": 0, "baddbmm_": 0, "addbmm": 0, "addmv": 0, "_addmm_activation": 0,
    "linear": 2, "convolution": 2, "_convolution": 2, "convolution_overrideable": 2, "mkldnn_convolution": 2,
    "mkldnn_linear": 2,
}  # fmt: skip
#: Products whose weight operand is known by its place alone.
PLACED = (frozenset(ADDED) | CONVOLUTIONS | {"linear", "_grouped_mm"}) - {"baddbmm", "baddbmm_", "addbmm"}
#: Rows of operand 0 picked by integers.
LOOKUPS = frozenset(
    "embedding _embedding_bag _embedding_bag_forward_only embedding_bag index index_select gather take take_along_dim "
    "_unsafe_index embedding_renorm_".split()
)
#: Gain and bias of normalisations, by operand.
NORMS: dict[str, tuple[int, int]] = {
    "native_layer_norm": (2, 3),
    "layer_norm": (2, 3),
    "native_batch_norm": (1, 2),
    "_native_batch_norm_legit": (1, 2),
    "_native_batch_norm_legit_no_training": (1, 2),
    "_batch_norm_no_update": (1, 2),
    "_batch_norm_with_update": (1, 2),
    "batch_norm": (1, 2),
    "cudnn_batch_norm": (1, 2),
    "native_group_norm": (1, 2),
    "group_norm": (1, 2),
    "instance_norm": (1, 2),
    "rms_norm": (2, -1),
    "_fused_rms_norm": (2, -1),
}
JOINS = frozenset(("cat", "stack", "concat", "hstack", "vstack"))
ADDITIONS = frozenset("add add_ sub sub_ rsub addcmul addcdiv lerp lerp_ logaddexp".split())
#: Elements of one operand put in the place of another's.
REPLACEMENTS = frozenset(
    "where masked_scatter masked_scatter_ index_put index_put_ _index_put_impl_ copy copy_ scatter scatter_ "
    "scatter_add scatter_add_ slice_scatter select_scatter index_copy index_add index_add_ index_copy_ masked_fill "
    "masked_fill_ written index_fill index_fill_".split()
)
MULTIPLICATIONS = frozenset("mul mul_ div div_ pow pow_ complex polar atan2".split())
#: Choices of the largest: what gives them indices may pick experts.
CHOICES = frozenset(("topk", "argmax", "sort", "max", "kthvalue", "argsort", "multinomial"))


def attends(op: str) -> bool:
    """Whether this is one of torch's attention kernels: query, key and value are its first three operands."""
    return op.startswith(("_scaled_dot_product", "scaled_dot_product", "_flash_attention", "_efficient_attention"))


def plain(op: str) -> str:
    """The operation without the mark of being done in place."""
    return op[:-1] if op.endswith("_") and not op.endswith("__") else op
