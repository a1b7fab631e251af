"""How much faster is `generate_scene` than transformers' `generate` and a second forward pass for the numbers?

```bash
python -m benchmarks.decode --out benchmarks/results/decode.json
```

One run, the same images, weights and grammar; times are the median of a few runs in turn, figures are ratios. Two
models: the bundled checkpoint with its own tokenizer (trained weights, real scenes), and a Llama of 60.7 million
parameters with a Llama tokenizer, the published wording and random weights that are steered to scenes of exactly N
objects. Guesses of a random model are right more often than those of a trained one, so for it `generate_scene` is
also timed without drafts, where the number of passes does not depend on the weights. Every picture is read once, as
`generate` does; the checkpoint is also timed with its own several views.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LogitsProcessorList

from benchmarks.llama_tokenizer import make_llama_tokenizer
from benchmarks.reports import write_report
from dataset_builders.clevr_sampler import sample_clevr_scene
from modeling_igllm import IGLLMConfig, IGLLMForSceneProgram, IGLLMProcessor, SceneProgram
from modeling_igllm.grammar_generation import GrammarLogitsProcessor

CHECKPOINT = Path("checkpoints/ig-llm-tiny-clevr")
OBJECTS = 6
ROOM = 4000
Decoder = Callable[[IGLLMForSceneProgram, Any], Any]


def generate_scene(model: IGLLMForSceneProgram, inputs: Any) -> Any:
    """The default decoder, with one look at a picture."""
    return model.generate_scene(**inputs, max_new_tokens=ROOM, view_shift=0)


def generate_scene_from_views(model: IGLLMForSceneProgram, inputs: Any) -> Any:
    """The default decoder, with as many looks as the checkpoint says."""
    return model.generate_scene(**inputs, max_new_tokens=ROOM)


def generate_scene_without_drafts(model: IGLLMForSceneProgram, inputs: Any) -> Any:
    """One pass for every choice."""
    return model.generate_scene(**inputs, max_new_tokens=ROOM, draft_choices=0, view_shift=0)


def stock(model: IGLLMForSceneProgram, inputs: Any) -> Any:
    """transformers' `generate` under the same mask, then a second forward pass for the numbers (the published way).

    A model that feeds its numbers back has read them on the way: it needs no second pass.
    """
    mask = GrammarLogitsProcessor(model.grammar_automaton, inputs["input_ids"].shape[1], ROOM)
    output: Any = IGLLMForSceneProgram.generate(
        model, **inputs, logits_processor=LogitsProcessorList([mask]), do_sample=False, max_new_tokens=ROOM
    )
    if model.numeric_head is not None and not model.config.feed_numbers_back:
        model.read_numbers(output.sequences, pixel_values=inputs["pixel_values"])
    return output


def make_large(number_head: str) -> tuple[IGLLMForSceneProgram, IGLLMProcessor]:
    """A Llama with a Llama tokenizer around the checkpoint's tower, all of random weights."""
    small = IGLLMConfig.from_pretrained(CHECKPOINT)
    tokenizer = make_llama_tokenizer()
    processor = IGLLMProcessor(
        IGLLMProcessor.from_pretrained(CHECKPOINT).image_processor,
        tokenizer,
        num_image_tokens=small.vision_config.num_image_tokens,
        numbers="char" if number_head == "none" else "token",
    )
    text_config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=8192,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    config = IGLLMConfig(
        vision_config=small.vision_config.to_dict(),
        text_config=text_config,
        image_token_index=processor.image_token_id,
        num_token_id=processor.num_token_id,
        number_head=number_head,  # type: ignore[arg-type]  # one of the two that `main` asks for
    )
    return IGLLMForSceneProgram(config).eval(), processor


def set_objects(model: IGLLMForSceneProgram, processor: IGLLMProcessor, inputs: Any, objects: int) -> None:
    """Let programs have exactly `objects` objects: that many at most, and output weights that prefer to go on.

    Raises:
        RuntimeError: if the model still closes a program earlier.
    """
    scene = SceneProgram(sample_clevr_scene("clevr", "train", 0, 0).objects)
    model.set_grammar(processor.make_grammar([scene], max_objects=objects))
    automaton = model.grammar_automaton
    weights = model.lm_head.weight.data
    weights[list(automaton.open.transitions)] = 0
    states: list[torch.Tensor] = []
    hook = model.model.register_forward_hook(
        lambda module, arguments, output: states.append(output.last_hidden_state[:, -1])
    )
    generate_scene_without_drafts(model, batch_of(inputs, 1))
    hook.remove()
    for token in automaton.open.transitions.keys() - automaton.close.transitions.keys():
        weights[token] = torch.cat(states).mean(0)
    counts = {len(words) for words in generate_scene(model, inputs).word_probabilities}
    if counts != {objects}:
        raise RuntimeError(f"the steered model writes {counts} objects, not {objects}: try another seed")


def time_in_turn(model: IGLLMForSceneProgram, inputs: Any, decoders: list[Decoder], repeats: int) -> dict[str, float]:
    """Median seconds of each decoder; they take turns, so that a busy moment of the machine hits all alike."""
    seconds: dict[str, list[float]] = {decoder.__name__: [] for decoder in decoders}
    for decoder in decoders:
        decoder(model, inputs)
    for _ in range(repeats):
        for decoder in decoders:
            start = time.perf_counter()
            decoder(model, inputs)
            seconds[decoder.__name__].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def batch_of(inputs: Any, size: int) -> dict[str, torch.Tensor]:
    """The first `size` rows."""
    return {name: values[:size] for name, values in inputs.items()}


def compare_large(images: Any, batch_sizes: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """The large model with [NUM], and with digits, on scenes of six objects."""
    report: dict[str, Any] = {}
    model, processor = make_large("tanh_mlp_gelu")
    digit_model, digit_processor = make_large("none")
    report["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    for size in batch_sizes:
        inputs, digit_inputs = (which.encode_prompt(images[:size]) for which in (processor, digit_processor))
        set_objects(model, processor, inputs, OBJECTS)
        set_objects(digit_model, digit_processor, digit_inputs, OBJECTS)
        times = time_in_turn(model, inputs, [stock, generate_scene, generate_scene_without_drafts], repeats)
        times["digit_text_stock"] = time_in_turn(digit_model, digit_inputs, [stock], 1)["stock"]
        report[f"batch {size}"] = summarize(times) | count_passes(model, inputs)
    return report


def compare_checkpoint(images: Any, batch_sizes: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """The bundled checkpoint: trained weights, its own tokenizer, the objects that it sees."""
    model = IGLLMForSceneProgram.from_pretrained(CHECKPOINT).eval()
    processor = IGLLMProcessor.from_pretrained(CHECKPOINT)
    report = {}
    for size in batch_sizes:
        inputs = processor.encode_prompt(images[:size])
        decoders: list[Decoder] = [stock, generate_scene, generate_scene_without_drafts, generate_scene_from_views]
        report[f"batch {size}"] = summarize(time_in_turn(model, inputs, decoders, repeats)) | count_passes(
            model, inputs
        )
    return report


def growth(images: Any, counts: tuple[int, ...], batch_sizes: tuple[int, ...]) -> dict[str, float]:
    """Seconds of the default decoder with the large model, by objects (batch 1) and by batch (six objects)."""
    model, processor = make_large("tanh_mlp_gelu")
    table = {}
    for size, objects in [*((1, count) for count in counts), *((size, OBJECTS) for size in batch_sizes)]:
        inputs = processor.encode_prompt(images[:size])
        set_objects(model, processor, inputs, objects)
        times = time_in_turn(model, inputs, [generate_scene, generate_scene_without_drafts], 2)
        for name, seconds in times.items():
            table[f"{name}, batch {size}, {objects} objects"] = seconds
    return table


def summarize(times: dict[str, float]) -> dict[str, float]:
    """Seconds, and how many times faster than each other way the default decoder is."""
    fastest = times["generate_scene"]
    ratios = {f"{name} / generate_scene": seconds / fastest for name, seconds in times.items() if seconds != fastest}
    without = {"stock / generate_scene_without_drafts": times["stock"] / times["generate_scene_without_drafts"]}
    return {f"{name} seconds": seconds for name, seconds in times.items()} | ratios | without


def count_passes(model: IGLLMForSceneProgram, inputs: Any) -> dict[str, float]:
    """Forward passes for each object of the longest scene, that over the prompt left out; tokens likewise."""
    report = {}
    for decoder in (generate_scene, generate_scene_without_drafts):
        output = decoder(model, inputs)
        objects = max(len(words) for words in output.word_probabilities)
        report[f"{decoder.__name__} passes per object"] = (output.num_passes - 1) / objects
    report["tokens per object"] = (output.sequences.shape[1] - inputs["input_ids"].shape[1]) / objects
    return report


def load_images(count: int) -> list[Any]:
    """Rendered CLEVR scenes, rendered on the spot at the checkpoint's size."""
    from dataset_builders.painters import PaintRequest, make_clevr_painter

    painter = make_clevr_painter(PaintRequest(160, 120, 4))
    return [painter.paint(sample_clevr_scene("clevr", "val_id", 1, index)).pixels for index in range(count)]


def main() -> None:
    """Parse, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--objects", type=int, nargs="+", default=[3, 6, 12, 25, 50])
    parser.add_argument("--out", type=Path)
    parsed = parser.parse_args()
    images = load_images(max(parsed.batch_sizes))
    sizes = tuple(parsed.batch_sizes)
    report = {
        "threads": torch.get_num_threads(),
        "checkpoint": compare_checkpoint(images, sizes, parsed.repeats),
        "llama": compare_large(images, sizes, parsed.repeats),
        "growth": growth(images, tuple(parsed.objects), (2, 4, 8, 16)),
    }
    print(json.dumps(report, indent=2))
    write_report(report, parsed.out)


if __name__ == "__main__":
    main()
