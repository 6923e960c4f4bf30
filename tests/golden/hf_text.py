"""Writes hf_text.json: small BERT, RoBERTa, T5 and M2M-100 encoders, as open_clip's HFTextEncoder makes them from a configuration."""

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import known
import open_clip
import torch
import transformers
from open_clip.hf_model import HFTextEncoder

torch.set_num_threads(1)
EMBED = 6
VOCAB = 24


def ids(pad, end):
    """Rows of 4, 8, 6 and 1 tokens."""
    rows = [[3, 10, 11, end], [3, 12, 13, 10, 17, 9, 4, end], [3, 5, 6, 7, 8, end], [end]]
    return torch.tensor([row + [pad] * (9 - len(row)) for row in rows])


def tower(config, pooling, proj):
    poolers = {"mean": "mean_pooler", "max": "mean_pooler", "cls": "cls_pooler", "cls_last": "cls_last_hidden_state_pooler"}
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        kind = None if proj == "none" else proj
        embed = getattr(config, "d_model", config.hidden_size) if proj == "none" else EMBED
        return HFTextEncoder(folder, embed, pooler_type=poolers[pooling], proj_type=kind, pretrained=False).eval()


def case(config, options, pooling="mean", proj="mlp", **more):
    encoder = tower(config, pooling, proj)
    pad = config.pad_token_id

    def outputs(x):
        mask = (x != pad).long()
        return encoder.transformer(input_ids=x, attention_mask=mask), mask

    def pooled(x):
        out, mask = outputs(x)
        if pooling == "max":
            # open_clip's own max pooler masks by integers, which torch refuses.
            return out.last_hidden_state.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).max(1).values
        return encoder.pooler(out, mask)

    def tokens(x):
        encoder.output_tokens = True
        return encoder(x)[1]

    options = {"context": 9, "vocab": VOCAB, "pad": pad, "pooling": pooling, "proj": proj, **options}
    return known.record(encoder, ids(pad, 2), options=options, forward=pooled, tokens=tokens, **more)


def bert(kind, options, **config):
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
    ours = {"width": 8, "layers": 2, "heads": 2, "hidden": 12, **options}
    ours["max_positions"] = config["max_position_embeddings"]
    return kind(vocab_size=VOCAB, **sizes, **config), ours


def t5(kind, options, **config):
    made = kind(vocab_size=VOCAB, d_model=8, d_kv=5, d_ff=12, num_layers=2, num_heads=3, **config)
    return made, {"width": 8, "head_width": 5, "hidden": 12, "layers": 2, "heads": 3, **options}


def m2m(options, **config):
    sizes = {"encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 12}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 12}
    made = transformers.M2M100Config(vocab_size=VOCAB, d_model=8, max_position_embeddings=16, pad_token_id=1, **sizes, **decoder, **config)
    return made, {"width": 8, "layers": 2, "heads": 2, "hidden": 12, **options}


def main():
    roberta = {"positions": "roberta", "types": 1, "epsilon": 1e-5}
    plain = bert(transformers.BertConfig, {}, max_position_embeddings=10)
    numbered = bert(transformers.RobertaConfig, roberta, max_position_embeddings=11, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
    many = bert(transformers.XLMRobertaConfig, roberta, max_position_embeddings=12, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1)
    relu = {"activation": "relu", "types": 3, "epsilon": 1e-3}
    other = bert(transformers.BertConfig, relu, max_position_embeddings=9, hidden_act="relu", type_vocab_size=3, layer_norm_eps=1e-3)
    gated = t5(transformers.MT5Config, {})
    # Few classes and a short reach, so that nine tokens show the far ones.
    far = {"buckets": 8, "max_distance": 6, "gated": False, "activation": "relu", "epsilon": 1e-3}
    first = t5(
        transformers.MT5Config,
        far,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=6,
        feed_forward_proj="relu",
        layer_norm_epsilon=1e-3,
    )
    scaled = m2m({})
    unscaled = m2m({"scale_embedding": False, "activation": "gelu"}, scale_embedding=False, activation_function="gelu")
    cases = {
        "bert/mean": case(*plain),
        "bert/max": case(*plain, pooling="max", proj="linear", gradients=False),
        "bert/cls": case(*plain, pooling="cls"),
        "bert/cls_last": case(*plain, pooling="cls_last", proj="none", gradients=False),
        "bert/relu": case(*other),
        "bert/roberta": case(*numbered),
        "bert/roberta_cls": case(*numbered, pooling="cls", proj="linear"),
        "bert/xlm_roberta": case(*many, gradients=False),
        "t5_encoder/mean": case(*gated),
        "t5_encoder/max": case(*gated, pooling="max", gradients=False),
        "t5_encoder/cls": case(*gated, pooling="cls", proj="linear", gradients=False),
        "t5_encoder/first": case(*first),
        "m2m100_encoder/mean": case(*scaled),
        "m2m100_encoder/max": case(*scaled, pooling="max", gradients=False),
        "m2m100_encoder/cls": case(*scaled, pooling="cls", proj="linear"),
        "m2m100_encoder/unscaled": case(*unscaled, pooling="cls_last", gradients=False),
    }
    known.write(__file__, cases, f"open_clip {open_clip.__version__}, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
