"""The objectives of reinforcement learning, one file for what is each one's own.

| objective | ratio and bound | advantages | averaged by default |
|---|---|---|---|
| grpo | `grpo.py`: token, clipped | centred, divided by std | seq-mean-token-sum |
| dr_grpo | as grpo | centred | `dr_grpo.py`: sum over a constant |
| dapo | as grpo | as grpo, of rewards shaped by `dapo.py` | token-mean |
| gspo | `gspo.py`: sequence, clipped | as grpo | seq-mean-token-mean |
| cispo | `cispo.py`: token, bounded weight | as grpo | token-mean |
| rloo | `rloo.py`: product over the sequence, clipped | leave-one-out, `grpo/advantage.py` | seq-mean-token-mean |

`tokens.py` holds what they read and say, `aggregate.py`, `kl.py` and `correction.py` the parts that all of them share;
`grpo/loss.py` puts one together.
"""
