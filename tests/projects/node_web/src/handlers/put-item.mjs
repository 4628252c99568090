export const putItemHandler = async (event) => {
  const { id, name } = JSON.parse(event.body);
  return { statusCode: 200, body: JSON.stringify({ id, name }) };
};
