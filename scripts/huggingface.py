"""The Hugging Face route: our text decoder as GPT-2 with cross-attention, weights copied.

``VisionEncoderDecoderModel`` around GPT-2 is the route that is timed; it is given the memory as
what its encoder would have put out. It knows no mask of regions, so the golden of images with
regions that pad, and questions, which are read in both directions, take GPT-2 itself.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm.decoding import BeamSearch, SpecialTokens
from vlm.models.attention import MultiHeadAttention
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory

try:
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTModel,
    )
    from transformers.modeling_outputs import BaseModelOutput
except ImportError as error:
    raise SystemExit(
        "transformers is not installed; install it with: pip install -e '.[bench]'"
    ) from error


def gpt2_of(decoder: TextDecoder) -> GPT2LMHeadModel:
    """A GPT-2 that computes what ``decoder`` computes, with its own copy of the weights.

    Both are pre-norm transformers with learned positions, tied embeddings and the exact
    GELU; GPT-2 keeps its matrices transposed and a self-attention's three in one.
    """
    config = GPT2Config(
        vocab_size=decoder.vocabulary_size,
        n_positions=decoder.max_length,
        n_embd=decoder.width,
        n_layer=decoder.layers,
        n_head=decoder.heads,
        activation_function="gelu",
        add_cross_attention=True,
        embd_pdrop=decoder.dropout,
        resid_pdrop=decoder.dropout,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    gpt2 = GPT2LMHeadModel(config)
    body = gpt2.transformer
    body.wte.load_state_dict(decoder.token_embedding.state_dict())
    body.wpe.load_state_dict(decoder.position_embedding.state_dict())
    body.ln_f.load_state_dict(decoder.output_norm.state_dict())
    for theirs, ours in zip(body.h, decoder.blocks, strict=True):
        theirs.ln_1.load_state_dict(ours.self_attention.norm.state_dict())
        theirs.ln_cross_attn.load_state_dict(ours.cross_attention.norm.state_dict())
        theirs.ln_2.load_state_dict(ours.feed_forward.norm.state_dict())
        _copy_attention(theirs.attn, ours.self_attention.attention, queries=None)
        cross = theirs.crossattention
        _copy_attention(cross, ours.cross_attention.attention, queries=cross.q_attn)
        _copy(theirs.mlp.c_fc, ours.feed_forward.mlp[0])
        _copy(theirs.mlp.c_proj, ours.feed_forward.mlp[2])
    return gpt2.train(decoder.training)


def encoder_decoder_of(decoder: TextDecoder, special: SpecialTokens) -> VisionEncoderDecoderModel:
    """That GPT-2 behind an encoder of the memory's width, which is never asked."""
    config = ViTConfig(
        hidden_size=decoder.width,
        num_hidden_layers=0,
        num_attention_heads=decoder.heads,
        image_size=16,
    )
    encoder = ViTModel(config, add_pooling_layer=False)
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=gpt2_of(decoder))
    model.config.decoder_start_token_id = special.start
    model.config.pad_token_id = special.pad
    return model.train(decoder.training)


def next_word_loss(
    model: VisionEncoderDecoderModel, tokens: Tensor, memory: Memory, *, pad: int
) -> Tensor:
    """Mean cross-entropy of captions ``(B, C, L)``: every caption is a row of its own."""
    labels = tokens[..., 1:].flatten(0, 1)
    return model(
        labels=labels.masked_fill(labels == pad, -100),
        encoder_outputs=_encoded(memory, tokens.shape[1]),
        use_cache=False,
    ).loss


def weighed_loss(
    model: VisionEncoderDecoderModel,
    tokens: Tensor,
    memory: Memory,
    weights: Tensor,
    *,
    special: SpecialTokens,
) -> Tensor:
    """Mean over captions of what their tokens cost together, each by its weight.

    Args:
        model: that reads them.
        tokens: ``(B, C, L)`` ids, no start token, the end included, padding last.
        memory: of the ``B`` images.
        weights: ``(B, C)``.
        special: which tokens start and pad, and are impossible like the unknown one.
    """
    rows = tokens.flatten(0, 1)
    logits = model(
        decoder_input_ids=functional.pad(rows[:, :-1], (1, 0), value=special.start),
        encoder_outputs=_encoded(memory, tokens.shape[1]),
        use_cache=False,
    ).logits
    logits[..., special.never] = -torch.inf
    costs = functional.cross_entropy(
        logits.flatten(0, 1), rows.flatten(), ignore_index=special.pad, reduction="none"
    )
    return (weights * costs.view_as(tokens).sum(dim=-1)).mean()


@torch.no_grad()
def write(
    model: VisionEncoderDecoderModel,
    memory: Memory,
    *,
    special: SpecialTokens,
    max_length: int,
    **how: object,
) -> Tensor:
    """What ``generate`` writes, ``(B, C, L)`` without the start token.

    Args:
        model: that writes.
        memory: of the ``B`` images.
        special: tokens that are no words.
        max_length: most tokens, end included.
        how: other options of ``generate``, as ``num_beams``.
    """
    rows = model.generate(
        encoder_outputs=_encoded(memory, 1),
        max_new_tokens=max_length,
        decoder_start_token_id=special.start,
        eos_token_id=special.end,
        pad_token_id=special.pad,
        suppress_tokens=special.never,
        **how,
    )
    return rows[:, 1:].unflatten(0, (len(memory.features), -1))


def gpt2_loss(gpt2: GPT2LMHeadModel, tokens: Tensor, memory: Memory, *, pad: int) -> Tensor:
    """Mean cross-entropy of captions ``(B, C, L)``: every caption is a row of its own."""
    captions = tokens.shape[1]
    labels = tokens.flatten(0, 1)
    return gpt2(
        input_ids=labels,
        encoder_hidden_states=memory.features.repeat_interleave(captions, dim=0),
        encoder_attention_mask=_mask(memory, captions),
        labels=labels.masked_fill(labels == pad, -100),
    ).loss


def gpt2_reading(gpt2: GPT2LMHeadModel, tokens: Tensor, memory: Memory, *, real: Tensor) -> Tensor:
    """Hidden states ``(B, C, L, D)`` of questions ``(B, C, L)``, each a row of its own.

    They are read in both directions, as ours are: a mask of four dimensions takes the place of
    GPT-2's causal one. Padding, where ``real`` ``(B, C, L)`` is False, is computed but not seen.
    """
    questions, length = tokens.shape[1:]
    seen = real.flatten(0, 1)[:, None, None, :].expand(-1, 1, length, -1)
    hidden = gpt2.transformer(
        input_ids=tokens.flatten(0, 1),
        attention_mask=seen,
        encoder_hidden_states=memory.features.repeat_interleave(questions, dim=0),
        encoder_attention_mask=_mask(memory, questions),
        use_cache=False,
    ).last_hidden_state
    return hidden.unflatten(0, tokens.shape[:2])


@torch.inference_mode()
def gpt2_beams(
    gpt2: GPT2LMHeadModel, memory: Memory, search: BeamSearch, *, special: SpecialTokens
) -> list[list[int]]:
    """The best caption of each image by ``generate``, from after the start to before the end."""
    start = torch.full((len(memory.features), 1), special.start, device=memory.features.device)
    rows = gpt2.generate(
        input_ids=start,
        attention_mask=torch.ones_like(start),
        encoder_hidden_states=memory.features,
        encoder_attention_mask=_mask(memory, 1),
        num_beams=search.beams,
        length_penalty=search.length_penalty,
        min_new_tokens=search.min_length,
        max_new_tokens=search.max_length,
        do_sample=False,
        early_stopping=False,
        eos_token_id=special.end,
        pad_token_id=special.pad,
        suppress_tokens=[special.start, special.pad],
    )
    return [words(row, special) for row in rows[:, 1:].tolist()]


def words(row: list[int], special: SpecialTokens) -> list[int]:
    """The ids before the end or the padding."""
    stops = [i for i, token in enumerate(row) if token in (special.end, special.pad)]
    return row[: stops[0]] if stops else row


def _encoded(memory: Memory, rows: int) -> BaseModelOutput:
    """The memory, all of it there, as an encoder's output, repeated for every row of an image."""
    return BaseModelOutput(memory.features.repeat_interleave(rows, dim=0))


def _mask(memory: Memory, rows: int) -> Tensor | None:
    """None where every region is real, which spares GPT-2 the mask."""
    return None if memory.mask.all() else memory.mask.long().repeat_interleave(rows, dim=0)


def _copy_attention(
    theirs: nn.Module, ours: MultiHeadAttention, *, queries: nn.Module | None
) -> None:
    """Into GPT-2's attention; without ``queries`` of their own they share a matrix."""
    _copy(theirs.c_proj, ours.output)
    if queries is None:
        _copy(theirs.c_attn, ours.query, ours.key_value)
    else:
        _copy(queries, ours.query)
        _copy(theirs.c_attn, ours.key_value)


@torch.no_grad()
def _copy(theirs: nn.Module, *ours: nn.Module) -> None:
    """Linear layers, side by side, into one of GPT-2's transposed ones."""
    theirs.weight.copy_(torch.cat([linear.weight for linear in ours]).T)
    theirs.bias.copy_(torch.cat([linear.bias for linear in ours]))
