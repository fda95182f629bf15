#!/usr/bin/env bash
# The swarm's datasets from raw text: bash examples/japanese_swarm/prepare.sh CORPORA JGLUE OUT
# CORPORA has the seven corpora that README.md names, JGLUE JCommonsenseQA's files. OUT gets corpora.yml, and tasks/ with the
# questions. After a kill the same command goes on.
set -euo pipefail
corpora=$1 jglue=$2 out=$3
kinds=(wiki news diet literature techdoc english code)
split=0.92,0.03,0.05

clean() { # NAME INPUT... [OPTION...]
    python -m preprocess.clean "${@:2}" --corpus "$1" --output-dir "$out/clean/$1" --split $split
}
clean wiki "$corpora"/wiki_ja/jawiki-country-pages-articles.xml.bz2 "$corpora"/wiki_ja/kyoto.jsonl.zst
clean news "$corpora"/news/wikinews-ja.jsonl.gz
clean diet "$corpora"/diet/speech_pages "$corpora"/diet/minutes-2025.jsonl.gz --profile minutes
clean literature "$corpora"/literature/aozora-sjis.tar.xz
clean techdoc "$corpora"/techdoc/cpprefjp.parquet
clean english "$corpora"/english/kyoto-en.txt.gz
clean code "$corpora"/code/python.jsonl.zst
python -m preprocess.dedup "${kinds[@]/#/$out/clean/}" --output-dir "$out/dedup"

# questions from what is held out of news, encyclopedia and minutes
mkdir -p "$out/tasks"
cp -f "$jglue"/jcommonsenseqa-valid-v1.1.json "$jglue"/jcommonsenseqa-train-v1.1.json "$out/tasks/"
for name in news wiki diet; do cat "$out/dedup/$name/test/"*.jsonl.zst; done >"$out/held_out.jsonl.zst"
python -m eval_harness.cloze "$out/held_out.jsonl.zst" --output_dir "$out/tasks/news_cloze"
python -m preprocess.decontaminate "${kinds[@]/#/$out/dedup/}" --against "$out/tasks" --output-dir "$out/text"

python -m preprocess.tokenizer "${kinds[@]/#/$out/text/}" --vocab-size 8000 --chars-per-corpus 400000 --output-dir "$out/tokenizer"
{
    echo "tokenizer: tokenizer"
    echo "corpora:"
    for name in "${kinds[@]}"; do
        for part in train valid; do
            python -m preprocess.index "$out/text/$name/$part/" --tokenizer "$out/tokenizer" --output-prefix "$out/data/$name/$part" >&2
        done
        echo "  $name: {train: data/$name/train_text_document, valid: data/$name/valid_text_document}"
    done
} >"$out/corpora.yml.new"
mv "$out/corpora.yml.new" "$out/corpora.yml"
