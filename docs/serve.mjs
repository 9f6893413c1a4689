// A serving process without Python: PNG bytes in, probabilities out. See deployment.md.
//   npm install onnxruntime-node pngjs
//   node docs/serve.mjs runs/demo/model.onnx runs/demo/spec.json 8080
//   curl --data-binary @runs/demo/samples/val-0.png http://localhost:8080/
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import ort from "onnxruntime-node";
import { PNG } from "pngjs";

const [file, specFile, port] = process.argv.slice(2);
const content = readFileSync(file);
checkSum(content);
const spec = JSON.parse(readFileSync(specFile, "utf8")); // this runtime does not show metadata; the run's spec.json is the same
const session = await ort.InferenceSession.create(content);
const channels = spec.preprocess.channels;

// The file is whole if its SHA-256, with 64 zeros in place of the sum itself, is the sum it holds.
function checkSum(bytes) {
  const key = bytes.lastIndexOf("medzoo.sha256");
  const start = bytes.indexOf("sha256:", key + "medzoo.sha256".length) + "sha256:".length;
  const copy = Buffer.from(bytes);
  copy.write("0".repeat(64), start);
  const found = createHash("sha256").update(copy).digest("hex");
  if (key < 0 || found !== bytes.toString("latin1", start, start + 64)) throw new Error(`${file} is damaged or was altered`);
}

// Raw pixels, channels last: no resizing, no scaling, no mean and spread. All of that is inside the graph.
function pixels(png) {
  const { width, height, data } = PNG.sync.read(png); // always RGBA, 8 bits
  const out = new Uint8Array(width * height * channels);
  for (let place = 0; place < width * height; place++) {
    const [r, g, b] = data.subarray(place * 4, place * 4 + 3);
    if (channels === 3) out.set([r, g, b], place * 3);
    else if (r === g && g === b) out[place] = r;
    else throw new Error("the model takes gray images, this one has colours");
  }
  return new ort.Tensor("uint8", out, [1, height, width, channels]);
}

createServer(async (request, response) => {
  try {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { probabilities } = await session.run({ image: pixels(Buffer.concat(parts)) });
    const said = Object.fromEntries(spec.labels.names.map((name, k) => [name, probabilities.data[k]]));
    response.setHeader("content-type", "application/json").end(JSON.stringify(said) + "\n");
  } catch (error) {
    response.writeHead(400).end(`${error.message}\n`);
  }
}).listen(Number(port), "127.0.0.1");
