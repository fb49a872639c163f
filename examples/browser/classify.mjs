// The student, for the page and for Node alike: load(folder) gives a function from text to labels with probabilities.

/**
 * @param {typeof import('@huggingface/transformers')} transformers the library, which the page and Node load differently
 * @param {string} root folder or address that holds the student's folder
 * @param {{name?: string, dtype?: string, wasm?: string}} options folder of the student; `q8` for the int8 model or
 *   `fp32`; address of onnxruntime-web's files, in the browser
 * @returns {Promise<(text: string, second?: string) => Promise<{label: string, score: number}[]>>} the classes, the most
 *   probable first
 */
export async function load({ env, AutoModelForSequenceClassification, AutoTokenizer, softmax }, root, options = {}) {
  const { name = 'student', dtype = 'q8', wasm } = options;
  env.allowRemoteModels = false; // nothing is asked of the Hub
  env.allowLocalModels = true;
  env.localModelPath = root;
  if (wasm) env.backends.onnx.wasm.wasmPaths = wasm;
  const tokenizer = await AutoTokenizer.from_pretrained(name);
  const model = await AutoModelForSequenceClassification.from_pretrained(name, { dtype });
  return async (text, second) => {
    // Without the second option, a general tokenizer leaves out which text a token is of, and the model reads zeros.
    const pair = second === undefined ? {} : { text_pair: second, return_token_type_ids: true };
    const { logits } = await model(await tokenizer(text, { truncation: true, ...pair }));
    return Array.from(softmax(logits.data))
      .map((score, number) => ({ label: model.config.id2label[number], score }))
      .sort((one, other) => other.score - one.score);
  };
}
