# Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""llama.cpp through llama-cpp-python's C interface. Options: type, of the weight matrices: F32, F16, BF16, Q8_0, …"""

import ctypes

import numpy as np

import models
import peers

CONTEXT = 1 << 20  # recurrent models keep nothing per token
PROMPT = 512  # tokens that llama.cpp computes at once, its own default


def _names(version):
    """Names of a checkpoint's tensors without 'blocks.N.' and '.weight' -> GGUF's."""
    names = {
        "emb": "token_embd",
        "head": "output",
        "ln_out": "output_norm",
        "ln0": "token_embd_norm",
        "ln1": "attn_norm",
        "ln2": "attn_norm_2",
        "att.ln_x": "time_mix_ln",
        "ffn.key": "channel_mix_key",
        "ffn.value": "channel_mix_value",
    }
    names |= {f"att.{name}": f"time_mix_{name}" for name in ("key", "value", "receptance", "output")}
    if version == 7:
        names |= {f"att.{name}{i}": f"time_mix_{name}{i}" for name in "wavg" for i in range(3)}
        names |= {f"att.{name}": f"time_mix_{name}" for name in ("k_k", "k_a", "r_k")}
        return names | {"ffn.x_k": "channel_mix_lerp_k"}
    names |= {"att.gate": "time_mix_gate", "att.time_maa_x": "time_mix_lerp_x", "att.time_faaaa": "time_mix_first"}
    names |= {"att.time_maa_w1": "time_mix_w1", "att.time_maa_w2": "time_mix_w2", "att.time_decay": "time_mix_decay"}
    names |= {f"att.time_decay_w{i}": f"time_mix_decay_w{i}" for i in (1, 2)}
    names |= {f"ffn.time_maa_{name}": f"channel_mix_lerp_{name}" for name in "kr"}
    return names | {"ffn.receptance": "channel_mix_receptance"}


def _tensors(weights, version):
    """(name, array) as llama.cpp wants them; it reads matrices row by row, [out, in]."""
    names = _names(version)
    order = [f"att.x_{name}" for name in "rwkvag"] if version == 7 else [f"att.time_maa_{name}" for name in "wkvrg"]
    for name, array in weights.items():
        block, short = "", name
        if name.startswith("blocks."):
            _, number, short = name.split(".", 2)
            block = f"blk.{number}."
        if short == order[0]:
            rows = [np.ravel(weights[name.replace(order[0], other)]) for other in order]
            yield f"{block}time_mix_lerp_fused.weight", np.stack(rows).reshape(len(order), 1, 1, -1)
        if short in order:
            continue
        base, kind = (short[: -len(".bias")], ".bias") if short.endswith(".bias") else (short, ".weight")
        base = base.removesuffix(".weight")
        block = "" if base == "ln0" else block
        array = np.squeeze(array)
        if base == "att.time_maa_w2":
            array = array.transpose(0, 2, 1)
        elif base == "att.r_k":
            array = array.ravel()
        elif array.ndim == 2 and base[-1] in "12" and base != "att.time_faaaa":
            array = array.T
        yield f"{block}{names[base]}{kind}", np.ascontiguousarray(array)
        if version == 7 and block == "blk.0." and base[:5] == "att.a":
            # Read but not used: the first layer has no value residual.
            yield f"{block}{names[base].replace('mix_a', 'mix_v')}{kind}", np.ascontiguousarray(array)


class Peer(peers.Peer):
    def start(self):
        if self.model.version not in (6, 7):
            raise peers.Absent(f"llama.cpp has no RWKV-{self.model.version}")
        peers.require("llama_cpp", "gguf")
        import gguf
        import llama_cpp

        self.gguf, self.cpp = gguf, llama_cpp
        self.type = gguf.GGMLQuantizationType[self.options.get("type", "F32")]
        elements, size = gguf.GGML_QUANT_SIZES[self.type]
        self.element_bytes = size / elements
        return peers.versions_of("llama-cpp-python", "gguf")

    @property
    def file(self):
        return self.output / "model.gguf"

    def prepare(self):
        shape, version = self.model, self.model.version
        writer = self.gguf.GGUFWriter(self.file, f"rwkv{version}")
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(shape.width)
        writer.add_block_count(shape.layers)
        writer.add_layer_norm_eps(1e-5)
        writer.add_wkv_head_size(models.HEAD_SIZE)
        writer.add_feed_forward_length(int(shape.hidden * shape.width))
        writer.add_head_count(0)
        writer.add_tokenizer_model("none")
        writer.add_vocab_size(shape.tokens)
        if version == 7:
            decay, rate, residual, gate = shape.ranks
            writer.add_decay_lora_rank(decay)
            writer.add_iclr_lora_rank(rate)
            writer.add_value_residual_mix_lora_rank(residual)
            writer.add_gate_lora_rank(gate)
        else:
            mix, decay = shape.ranks
            writer.add_rescale_every_n_layers(0)
            writer.add_time_mix_extra_dim(mix)
            writer.add_time_decay_extra_dim(decay)
        for name, array in _tensors(models.make_weights(shape), version):
            # As llama.cpp's own converter: vectors and v6's low-rank matrices stay.
            if array.ndim == 2 and not name.endswith(("time_mix_first.weight", "_w1.weight", "_w2.weight")):
                data = self.gguf.quants.quantize(array, self.type)
                writer.add_tensor(name, data, raw_dtype=self.type)
            else:
                writer.add_tensor(name, array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return [self.file], []

    def load(self, use):
        cpp = self.cpp
        # Kept: the library calls it as long as it lives.
        self.quiet = cpp.llama_log_callback(lambda level, text, data: None)
        cpp.llama_log_set(self.quiet, ctypes.c_void_p(0))
        cpp.llama_backend_init()
        model = cpp.llama_model_load_from_file(str(self.file).encode(), cpp.llama_model_default_params())
        if not model:
            raise RuntimeError(f"llama.cpp refused {self.file}")
        options = cpp.llama_context_default_params()
        options.n_ctx = CONTEXT
        options.n_batch = options.n_ubatch = PROMPT
        options.n_threads = options.n_threads_batch = self.threads
        self.context = cpp.llama_init_from_model(model, options)
        if not self.context:
            raise RuntimeError("llama.cpp made no context")

    def reset(self):
        self.cpp.llama_memory_clear(self.cpp.llama_get_memory(self.context), True)

    def step(self, token):
        return self.prefill([token])

    def prefill(self, tokens):
        for start in range(0, len(tokens), PROMPT):
            part = tokens[start : start + PROMPT]
            array = (ctypes.c_int32 * len(part))(*part)
            status = self.cpp.llama_decode(self.context, self.cpp.llama_batch_get_one(array, len(part)))
            if status:
                raise RuntimeError(f"llama_decode failed with status {status}")
        return np.ctypeslib.as_array(self.cpp.llama_get_logits_ith(self.context, -1), (self.model.tokens,))
