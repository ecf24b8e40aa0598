"""What the rules were written for: primitives by name, and the parameters that their rules read.

A newer JAX may add a primitive, or a parameter to one. A primitive without a rule is opaque, which
is sound; a parameter that a rule does not know would be ignored, which may not be. So a rule only
sees equations whose parameters it knows, and a test names at once what is new.
"""

WINDOWS = "window_dimensions window_strides padding base_dilation window_dilation"
INDEXED = "dimension_numbers indices_are_sorted mode unique_indices"
SCATTERS = f"{INDEXED} update_jaxpr update_consts"
PARAMETERS: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "add": "",
        "add_any": "",
        "sub": "",
        "neg": "",
        "max": "",
        "min": "",
        "select_n": "",
        "copy": "",
        "stop_gradient": "",
        "optimization_barrier": "",
        "sharding_constraint": "sharding context_mesh layout unconstrained_dims resource_env",
        "layout_constraint": "layout",
        "reshard": "dst_sharding concrete_mesh",
        "name": "name",
        "device_put": "devices srcs copy_semantics",
        "bitcast_convert_type": "new_dtype",
        "broadcast_in_dim": "shape broadcast_dimensions sharding",
        "reshape": "new_sizes dimensions sharding",
        "squeeze": "dimensions",
        "expand_dims": "dimensions",
        "transpose": "permutation",
        "slice": "start_indices limit_indices strides",
        "rev": "dimensions",
        "tile": "reps",
        "split": "sizes axis",
        "unstack": "axis",
        "concatenate": "dimension",
        "stack": "axis",
        "pad": "padding_config",
        "dynamic_slice": "slice_sizes",
        "dynamic_update_slice": "",
        "gather": f"{INDEXED} slice_sizes fill_value",
        "scatter": SCATTERS,
        "scatter-add": SCATTERS,
        "scatter-sub": SCATTERS,
        "scatter-mul": SCATTERS,
        "scatter-min": SCATTERS,
        "scatter-max": SCATTERS,
        "conv_general_dilated": "window_strides padding lhs_dilation rhs_dilation "
        "dimension_numbers feature_group_count batch_group_count precision "
        "preferred_element_type out_sharding",
        "dot_general": "dimension_numbers precision preferred_element_type out_sharding",
        "reduce_window": f"{WINDOWS} jaxpr consts",
        "reduce_window_sum": WINDOWS,
        "reduce_window_max": WINDOWS,
        "reduce_window_min": WINDOWS,
        "select_and_scatter_add": "select_prim window_dimensions window_strides padding",
        "select_and_gather_add": f"{WINDOWS} select_prim",
        "reduce_sum": "axes out_sharding",
        "reduce_max": "axes out_sharding",
        "reduce_min": "axes out_sharding",
        "reduce_prod": "axes out_sharding",
        "reduce_and": "axes out_sharding",
        "reduce_or": "axes out_sharding",
        "reduce_xor": "axes out_sharding",
        "argmax": "axes index_dtype",
        "argmin": "axes index_dtype",
        "psum": "axes axis_index_groups",
        "cumsum": "axis reverse",
        "cumprod": "axis reverse",
        "cummax": "axis reverse",
        "cummin": "axis reverse",
        "cumlogsumexp": "axis reverse",
        "sort": "dimension is_stable num_keys",
        "top_k": "k axis operand",
        "fft": "fft_type fft_lengths",
        "random_seed": "impl",
        "random_split": "shape",
        "random_fold_in": "",
        "random_bits": "bit_width shape",
        "random_wrap": "impl",
        "random_unwrap": "",
        "random_clone": "",
        "threefry2x32": "",
        "random_gamma": "log_space",
    }.items()
}
"""Parameters of the primitives whose rules read some of them; others name all of theirs."""

_OPAQUE = """
accum_grad_in_ref addupdate after_all approx_top_k box_get box_set broadcast_to call call_exported
call_hi_primitive call_hi_primitive_linearized cholesky cholesky_update create_linear create_token
cudnn_fusion custom_jvp_call_jaxpr custom_linear_solve custom_partitioning custom_vmap_call
dce_sink debug_callback debug_print dim_as_value dimension_size eig eigh empty empty2 empty_ref
eval_jaxpr ffi_call free_ref freeze from_edtype geqp3 geqrf get hessenberg householder_product
inspect_sharding io_callback iota iota_2x32_shape linear_call log_extend log_read lu
lu_pivots_to_permutation new_box new_log new_ref ormqr philox2x32 philox4x32 pin platform_index
precv preduced psend pure_callback qr ragged_all_to_all ragged_dot_general reduce
reduced_vary_cast_p remat_opt rng_bit_generator rng_uniform run_state scaled_dot scaled_matmul
scaled_matmul_wrapper schur select_and_scatter shape_assertion stage svd swap symmetric_product
threefry4x32 tie to_edtype triangular_solve tridiagonal tridiagonal_solve unpin unreachable
unreduced_psum unreduced_psum_start unreduced_reduce_scatter unreduced_reduce_scatter_start
vary_unreduced_cast_p zeros_like
"""
OPAQUE = frozenset(_OPAQUE.split())
"""Primitives that are looked at and left opaque: any function of their whole operands."""
OPAQUE_STEMS = ("dot_product_attention", "all_gather_", "all_to_all_", "pbroadcast_")
OPAQUE_STEMS += ("ppermute_", "psum_", "reduce_scatter_")
"""Beginnings of the names of whole families of them: fused attention, collectives in two parts."""
