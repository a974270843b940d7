"""Which channels of a network can only be removed together, found by running it once.

Every tensor of the run has a twin of the same shape that holds *labels*: for each element, the atom it vanishes with.
Atoms are the indices of the dimensions of parameters and buffers; operators tie atoms to each other (a sum those of
its operands, a batch norm those of its scale to its input's), and what is tied is one *unit*: remove one and all go.
Views, slices and concatenations run on the labels as they run on the values, so nothing is told by names or types.

- `atoms`: union and find, and why an atom may not go
- `labels`: labels of values and of parameters
- `operators`, `products`: what each operator means for labels
- `following`: the run
- `numbers`: numbers that modules remember, such as the number of heads, and the shapes they end up in
- `structure`: groups of units, sizes, and the edit that removes some
- `trials`: the proof by removal
"""
