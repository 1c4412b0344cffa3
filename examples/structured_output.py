"""An answer as a pydantic object."""

from common import chat_model
from pydantic import BaseModel, Field


class Customer(BaseModel):
    """A customer in the register."""

    name: str = Field(description="The customer's full name")
    seats: int = Field(description="How many seats were ordered")


def main() -> None:
    model = chat_model(temperature=0).with_structured_output(Customer)
    customer = model.invoke('Register the customer "Carmel Bakery" with 12 seats.')
    print(customer.name, customer.seats)


if __name__ == "__main__":
    main()
