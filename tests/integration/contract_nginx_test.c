/* The HTTP contract, row by row, over HTTP/1.1 through nginx. */
#include "harness/contract.h"

int main(void)
{
    return contract_through_nginx() == 0 ? 0 : 1;
}
