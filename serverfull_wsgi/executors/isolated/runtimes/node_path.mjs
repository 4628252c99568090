// A hook of Node's module loader: `import` finds packages in the folders of NODE_PATH, as AWS's Node.js does.
// Node itself searches these folders for `require` only.

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(import.meta.url);
const folders = (process.env.NODE_PATH ?? "").split(path.delimiter).filter((folder) => path.basename(folder) === "node_modules");
const parents = folders.map((folder) => pathToFileURL(path.join(path.dirname(folder), "import")).href);

const isPackage = (specifier) => !/^(\.|\/|[a-z]+:)/.test(specifier);
const isMissing = (error) => error?.code === "ERR_MODULE_NOT_FOUND";

function* contextsOf(specifier, context) {
  yield context;
  if (isPackage(specifier)) yield* parents.map((parentURL) => ({ ...context, parentURL }));
}

// A folder that is not called node_modules holds packages too, but only `require` can resolve them there.

function resolveByRequire(specifier, missing) {
  try {
    return { url: pathToFileURL(require.resolve(specifier)).href, shortCircuit: true };
  } catch {
    throw missing;
  }
}

// In a thread of hooks, nextResolve returns a promise.

export async function resolve(specifier, context, nextResolve) {
  let missing;
  for (const searched of contextsOf(specifier, context)) {
    try {
      return await nextResolve(specifier, searched);
    } catch (error) {
      if (!isMissing(error)) throw error;
      missing ??= error;
    }
  }
  return isPackage(specifier) ? resolveByRequire(specifier, missing) : Promise.reject(missing);
}

export function resolveInNodePath(specifier, context, nextResolve) {
  let missing;
  for (const searched of contextsOf(specifier, context)) {
    try {
      return nextResolve(specifier, searched);
    } catch (error) {
      if (!isMissing(error)) throw error;
      missing ??= error;
    }
  }
  if (!isPackage(specifier)) throw missing;
  return resolveByRequire(specifier, missing);
}
