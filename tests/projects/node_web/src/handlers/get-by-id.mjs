import { items } from "./items.mjs";

export const getByIdHandler = async (event) => {
  const item = items.find((one) => one.id === event.pathParameters.id);
  return { statusCode: item ? 200 : 404, body: JSON.stringify(item ?? null) };
};
