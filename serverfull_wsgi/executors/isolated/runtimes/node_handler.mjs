// The handler: found by the handler string "folder/file.export.nested", under the rules of AWS's client.

import fs from "node:fs";
import module, { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { STREAMING } from "./node_awslambda.mjs";
import { HAS_CALLBACKS, runtimeError } from "./node_errors.mjs";
import { resolveInNodePath } from "./node_path.mjs";

const require = createRequire(import.meta.url);

export async function load(root, handler) {
  if (handler.includes("..")) {
    const advice = "Use absolute paths when specifying root directories in handler names.";
    throw runtimeError("MalformedHandlerName", `'${handler}' is not a valid handler name. ${advice}`);
  }
  const last = path.basename(handler);
  const folder = handler.substring(0, handler.indexOf(last));
  const [, file, names] = /^([^.]*)\.(.*)$/.exec(last) ?? [];
  if (file === undefined) throw runtimeError("MalformedHandlerName", "Bad handler");
  const exports = await importFile(root, folder, file);
  const exported = resolve(exports, names) || (HAS_CALLBACKS ? undefined : resolve(exports.default, names));
  if (!exported) throw runtimeError("HandlerNotFound", `${handler} is undefined or not exported`);
  if (typeof exported !== "function") throw runtimeError("HandlerNotFound", `${handler} is not a function`);
  if (exported[STREAMING]) throw refusalOf(exported[STREAMING]);
  return exported;
}

function refusalOf(streaming) {
  if (streaming !== "response") return runtimeError("MalformedStreamingHandler", "Only response streaming is supported.");
  return runtimeError("MalformedStreamingHandler", "Response streaming is not served here; export the handler without awslambda.streamifyResponse.");
}

function resolve(exports, names) {
  const isOpen = (value) => (HAS_CALLBACKS ? value : value && typeof value === "object");
  return names.split(".").reduce((nested, name) => (isOpen(nested) ? nested[name] : undefined), exports);
}

async function importFile(root, folder, file) {
  try {
    return await findFile(root, folder, file);
  } catch (error) {
    if (error instanceof SyntaxError) {
      const failure = runtimeError("UserCodeSyntaxError", error);
      throw HAS_CALLBACKS ? failure : Object.assign(failure, { stack: error.stack });
    }
    if ((HAS_CALLBACKS || error instanceof Error) && error.code === "MODULE_NOT_FOUND") throw runtimeError("ImportModuleError", error);
    throw error;
  }
}

async function findFile(root, folder, file) {
  const location = path.resolve(root, folder, file);
  if (!HAS_CALLBACKS) return (await importFirst(location)) || requireNamed(file, root, folder);
  const isModule = fs.existsSync(`${location}.js`) && isModuleFolder(path.dirname(location));
  return (
    requireIfExists(location) ||
    (isModule ? undefined : requireIfExists(`${location}.js`)) ||
    (isModule && (await importIfExists(`${location}.js`))) ||
    (await importIfExists(`${location}.mjs`)) ||
    requireIfExists(`${location}.cjs`) ||
    requireNamed(file, root, folder)
  );
}

async function importFirst(location) {
  const ending = ["", ".js", ".mjs", ".cjs"].find((ending) => fs.existsSync(location + ending));
  return ending === undefined ? undefined : importIfExists(location + ending);
}

const requireNamed = (file, ...paths) => require(require.resolve(file, { paths }));

function requireIfExists(location) {
  if (!fs.existsSync(location)) return undefined;
  if (fs.statSync(location).isFile() && /\bimport\s*\(/.test(fs.readFileSync(location))) importFromNodePath();
  return require(location);
}

async function importIfExists(location) {
  if (!fs.existsSync(location)) return undefined;
  importFromNodePath();
  return import(pathToFileURL(location).href);
}

let isRegistered = false;

// Before Node.js 22.15 the hooks need a thread, so a handler that imports nothing goes without: 10 MiB, tens of milliseconds.

function importFromNodePath() {
  if (!process.env.NODE_PATH || isRegistered) return;
  isRegistered = true;
  if (module.registerHooks) module.registerHooks({ resolve: resolveInNodePath });
  else module.register?.("./node_path.mjs", import.meta.url); // Node.js 18.19 and later
}

function isModuleFolder(folder) {
  if (folder.endsWith("/node_modules")) return false;
  const location = path.join(folder, "package.json");
  if (!fs.existsSync(location)) return folder !== "/" && isModuleFolder(path.dirname(folder));
  try {
    return JSON.parse(fs.readFileSync(location))?.type === "module";
  } catch (error) {
    console.warn(`${location} cannot be read, it will be ignored for ES module detection purposes.`, error);
    return false;
  }
}
