import { items } from "./items.mjs";

export const getAllItemsHandler = async (event) => {
  if (event.httpMethod !== "GET") {
    throw new Error(`getAllItems only accepts GET, and not ${event.httpMethod}`);
  }
  return { statusCode: 200, body: JSON.stringify(items) };
};
